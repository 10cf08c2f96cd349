"use strict";
// The page is whole without this script: it adds sorting, copying and a choice of theme, and opens all for print.
(() => {
  const root = document.documentElement;
  const bar = document.getElementById("tools");

  const button = (text, title, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.title = title;
    made.addEventListener("click", () => act(made));
    return made;
  };

  const copy = (text) => async (made) => {
    const before = made.textContent;
    try {
      await navigator.clipboard.writeText(text);
      made.textContent = "Copied";
    } catch {
      made.textContent = "Not allowed by the browser";
    }
    setTimeout(() => { made.textContent = before; }, 1500);
  };

  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  bar.append(button("Light / dark", "Switch the theme", () => { root.dataset.theme = dark() ? "light" : "dark"; }));
  const numbers = document.getElementById("numbers").textContent;
  bar.append(button("Copy numbers", "All numbers of this page as JSON", copy(numbers)));

  for (const block of document.querySelectorAll("pre.command")) {
    block.before(button("Copy", "Copy this command", copy(block.textContent)));
  }

  const value = (row, place) => {
    if (place > 0 && row.querySelector(".reason")) return "";
    const data = row.cells[place].querySelector("data");
    const text = data ? data.value : row.cells[place].textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };
  // Unknown values stay at the end, whichever way the column is sorted.
  const compare = (one, other, direction) => {
    if (one === other) return 0;
    if (one === "") return 1;
    if (other === "") return -1;
    return direction * (typeof one === typeof other && one > other || typeof one > typeof other ? 1 : -1);
  };
  const table = document.getElementById("summary");
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const label = head.textContent;
    head.textContent = "";
    head.append(button(label, "Sort by " + label, () => {
      const direction = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows];
      rows.sort((one, other) => compare(value(one, place), value(other, place), direction));
      body.append(...rows);
    }));
  });

  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
})();
