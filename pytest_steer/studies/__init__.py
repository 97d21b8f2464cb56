"""Studies over claims and measures, one file each: sweep, data efficiency, comparisons of methods and of models, effect against cost."""
