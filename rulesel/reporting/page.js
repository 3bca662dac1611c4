"use strict";
// The page is complete without this: it adds reading under the pointer, a filter and sorting.
(() => {
  document.documentElement.classList.add("js");
  const source = document.getElementById("figures");
  if (!source) return;
  const figures = JSON.parse(source.textContent);
  const tip = document.getElementById("tip");

  const frame = document.querySelector(".map .frame");
  if (frame && figures.map) {
    const { names, order, packed } = figures.map;
    const cells = Int8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const count = order.length;
    frame.style.pointerEvents = "all";
    frame.addEventListener("pointermove", (event) => {
      const box = frame.getBoundingClientRect();
      const inside = (at, from, size) => Math.min(count - 1, Math.max(0, Math.floor((count * (at - from)) / size)));
      const row = inside(event.clientY, box.top, box.height);
      const column = inside(event.clientX, box.left, box.width);
      const value = cells[row * count + column] / 100;
      tip.textContent = `${names[order[row]]} × ${names[order[column]]}: ${value.toFixed(2)}`;
      tip.hidden = false;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
    });
    frame.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  const list = document.getElementById("cards");
  const tools = document.querySelector(".tools");
  if (list && tools) {
    tools.hidden = false;
    const cards = [...list.querySelectorAll("details.card")];
    const words = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
    const wanted = tools.querySelector("input");
    const sorting = tools.querySelector("select");
    wanted.addEventListener("input", () => {
      const text = wanted.value.trim().toLowerCase();
      for (const card of cards) card.hidden = text !== "" && !words.get(card).includes(text);
    });
    sorting.addEventListener("change", () => {
      const key = sorting.value;
      const value = (card) => Number(card.dataset[key]);
      const sign = key === "index" || key === "place" ? 1 : -1;
      cards.sort((a, b) => sign * (value(a) - value(b)) || a.dataset.index - b.dataset.index);
      list.append(...cards);
    });
    tools.querySelector("button").addEventListener("click", (event) => {
      const open = cards.some((card) => !card.open);
      for (const card of cards) card.open = open;
      event.target.textContent = open ? "Close all" : "Open all";
    });
  }

  const reveal = () => {
    const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  document.addEventListener("click", (event) => {
    const example = event.target.closest(".example");
    if (example && !getSelection().toString()) example.classList.toggle("open");
  });
  addEventListener("beforeprint", () => { for (const card of document.querySelectorAll("details")) card.open = true; });
})();
