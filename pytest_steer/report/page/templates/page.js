"use strict";
(() => {
  const form = document.querySelector(".controls");
  const list = document.querySelector(".list");
  const status = document.querySelector(".status");
  const claims = [...document.querySelectorAll(".claim")];
  const importance = new Map(claims.map((claim, place) => [claim, place]));
  const said = new Map();
  const open = form.elements.open;

  const text = (claim) => {
    if (!said.has(claim)) {
      const parts = [claim.querySelector("summary"), claim.querySelector(".said"), claim.querySelector(".statement")];
      said.set(claim, parts.map((part) => (part ? part.textContent : "")).join(" ").toLowerCase());
    }
    return said.get(claim);
  };

  const filter = () => {
    const verdicts = [...form.querySelectorAll("[name=verdict]:checked")].map((box) => box.value);
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const suite = form.elements.suite.value;
    const kind = form.elements.kind.value;
    let shown = 0;
    for (const claim of claims) {
      const data = claim.dataset;
      claim.hidden = !(
        (!verdicts.length || verdicts.includes(data.verdict)) &&
        (!suite || data.suite === suite) &&
        (!kind || data.kind === kind) &&
        words.every((word) => text(claim).includes(word))
      );
      shown += !claim.hidden;
    }
    status.textContent = shown === claims.length ? `All ${shown} claims are shown.` : `${shown} of ${claims.length} claims are shown.`;
  };

  const orders = {
    importance: (a, b) => importance.get(a) - importance.get(b),
    place: (a, b) => a.dataset.place - b.dataset.place,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name) || a.dataset.place - b.dataset.place,
    seconds: (a, b) => b.dataset.seconds - a.dataset.seconds,
  };
  const sort = () => list.append(...[...claims].sort(orders[form.elements.order.value]));

  const unfold = (wanted) => {
    for (const claim of claims) if (!claim.hidden) claim.querySelector(".whole").open = wanted;
    open.textContent = wanted ? "Close all" : "Open all";
  };

  // A link to a claim opens it, whatever is filtered.
  const follow = () => {
    const claim = claims.find((one) => `#${one.id}` === location.hash);
    if (!claim) return;
    if (claim.hidden) {
      form.reset();
      filter();
    }
    claim.querySelector(".whole").open = true;
    claim.scrollIntoView();
  };

  let waiting = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    if (event.target.name === "order") sort();
    else if (event.target.name === "text") waiting = setTimeout(filter, 120);
    else filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); sort(); }, 0));
  open.addEventListener("click", () => unfold(open.textContent === "Open all"));
  addEventListener("hashchange", follow);

  // Paper cannot be unfolded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")].filter((one) => !one.matches(".numbers"));
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of folded) one.open = false; });

  form.hidden = false;
  filter();
  follow();
})();
