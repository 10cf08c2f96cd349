"use strict";
// The page is whole without this script. It adds: a choice of theme, sorting, filtering and relative speeds of the
// summary, read-outs of the charts by pointer and arrow keys, downloads, copying, and opens all that is folded for print.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const numbers = JSON.parse(document.getElementById("numbers").textContent);

  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const button = (text, title, act) => {
    const made = make("button", { type: "button", textContent: text, title });
    made.addEventListener("click", () => act(made));
    return made;
  };

  // ---- tools -------------------------------------------------------------------------------------------------------

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

  const save = (name, type, content) => {
    const study = numbers.study.replace(/[^\w-]+/g, "-").slice(0, 40) || "report";
    const url = URL.createObjectURL(new Blob([content], { type }));
    const link = make("a", { href: url, download: `${study}-${name}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  const theme = make("select", { id: "theme" });
  for (const name of ["auto", "light", "dark"]) theme.append(make("option", { textContent: name }));
  theme.addEventListener("change", () => {
    if (theme.value === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme.value;
  });
  document.getElementById("tools").append(
    make("label", {}, "theme ", theme),
    button("Print", "Print, or save as PDF: all that is folded is opened", () => print()),
    button("JSON", "Download all numbers of this page", () => save("numbers.json", "application/json", JSON.stringify(numbers, null, 2))),
  );
  for (const block of all("pre.command")) block.before(button("Copy", "Copy this command", copy(block.textContent)));

  // ---- downloads ---------------------------------------------------------------------------------------------------

  // A text that a spreadsheet would take for a formula gets an apostrophe in front, as in the CSV export.
  const quoted = (value) => {
    if (value === null || value === undefined) return "";
    const text = Array.isArray(value) ? value.join("; ") : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const asCsv = (lines) => {
    const heads = Object.keys(lines[0] ?? {});
    return [heads, ...lines.map((line) => heads.map((head) => line[head]))]
      .map((line) => line.map(quoted).join(",") + "\r\n").join("");
  };
  const exported = (table) => {
    const list = table.dataset.path.split(".").reduce((found, key) => found[key], numbers);
    const shown = all("[data-at]:not([hidden])", table).map((row) => Number(row.dataset.at));
    const further = (table.dataset.further ?? "").split(" ").filter(Boolean).flatMap((span) => {
      const [first, last] = span.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, place) => first + place);
    });
    return [...shown, ...further].map((at) => list[at]);
  };
  // Colours are read off the page as it is shown, so that the file looks the same without its style.
  const asSvg = (shown) => {
    const copied = shown.cloneNode(true);
    const originals = [shown, ...all("*", shown)];
    [copied, ...all("*", copied)].forEach((element, place) => {
      const style = getComputedStyle(originals[place]);
      for (const name of ["fill", "stroke"]) {
        if (/var\(|currentColor/.test(element.getAttribute(name) ?? "")) element.setAttribute(name, style[name]);
      }
      if (element.tagName === "text" && !element.hasAttribute("fill")) element.setAttribute("fill", style.fill);
    });
    for (const mark of all("[data-tell]", copied)) {
      const title = document.createElementNS(copied.namespaceURI, "title");
      title.textContent = mark.dataset.tell;
      mark.prepend(title);
      mark.removeAttribute("data-tell");
    }
    const paper = document.createElementNS(copied.namespaceURI, "rect");
    paper.setAttribute("width", "100%");
    paper.setAttribute("height", "100%");
    paper.setAttribute("fill", getComputedStyle(shown.closest("figure")).backgroundColor);
    copied.prepend(paper);
    copied.removeAttribute("tabindex");
    copied.setAttribute("font-family", "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif");
    return new XMLSerializer().serializeToString(copied);
  };
  const downloads = (name, table, chart) => {
    const made = make("div", { className: "downloads" });
    if (table) made.append(button("CSV", `Download the numbers: ${name}.csv`, () => save(`${name}.csv`, "text/csv", asCsv(exported(table)))));
    if (chart) made.append(button("SVG", `Download the chart: ${name}.svg`, () => save(`${name}.svg`, "image/svg+xml", asSvg(chart()))));
    return made;
  };
  for (const figure of all("figure[data-figure]")) {
    const visible = () => all("svg", figure).find((one) => one.getBoundingClientRect().width > 0);
    figure.append(downloads(figure.dataset.figure, figure.querySelector("table[data-csv]"), visible));
  }
  for (const table of all("table[data-csv]")) {
    if (!table.closest("figure")) table.closest(".scroll").after(downloads(table.dataset.csv, table, null));
  }

  // ---- the summary: sort, filter, relative speeds ---------------------------------------------------------------------

  const summarise = (table) => {
    const rows = [...table.tBodies[0].rows];
    const value = (row, place) => {
      if (place > 0 && row.querySelector(".reason")) return "";
      const datum = all("data", row.cells[place]).find((one) => !one.closest("[hidden]"));
      const text = datum ? datum.value : row.cells[place].textContent.trim();
      return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
    };
    // Unknown values stay at the end, whichever way the column is sorted.
    const compare = (one, other, direction) => {
      if (one === other) return 0;
      if (one === "") return 1;
      if (other === "") return -1;
      return direction * (typeof one === typeof other && one > other || typeof one > typeof other ? 1 : -1);
    };
    const sort = (head, place) => {
      const direction = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(
        (one, other) => compare(value(one, place), value(other, place), direction)));
    };
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const made = button(head.textContent, `Sort by ${head.textContent}`, () => sort(head, place));
      head.replaceChildren(made);
    });

    const controls = document.getElementById("controls");
    const find = document.getElementById("find");
    const count = document.getElementById("count");
    const selects = all("select[data-filter]", controls);
    const filter = () => {
      const wanted = find.value.trim().toLowerCase();
      for (const row of rows) {
        const chosen = selects.every((one) => !one.value || row.dataset[one.dataset.filter] === one.value);
        row.hidden = !(chosen && row.textContent.toLowerCase().includes(wanted));
      }
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} ${table.dataset.rows ?? "trials"}`;
    };
    controls.hidden = rows.length < 2;
    find.addEventListener("input", filter);
    for (const one of selects) one.addEventListener("change", filter);
    filter();

    const places = (found) => Math.max(0, 2 - Math.floor(Math.log10(Math.abs(found))));
    const ratios = new Map((numbers.relative ?? []).map((line) => [`${line.trial_id} ${line.against}`, line]));
    const scaled = (bar, line, reach) => {
      const at = (found) => 100 * found / reach;
      const [point, band] = [bar.querySelector(".point"), bar.querySelector(".low-high")];
      point.setAttribute("x", Math.max(at(line.ratio) - 0.5, 0));
      if (line.ratio_low === null) band?.remove();
      else band?.setAttribute("x", at(line.ratio_low));
      if (line.ratio_low !== null) band?.setAttribute("width", Math.max(at(line.ratio_high - line.ratio_low), 0.2));
      return bar;
    };
    const against = (row, base) => ratios.get(`${row.dataset.trial} ${base === "fastest" ? row.dataset.fastest : base}`);
    const relate = (base) => {
      const found = rows.map((row) => against(row, base)).filter(Boolean);
      const reach = Math.max(1, ...found.map((line) => line.ratio_high ?? line.ratio));
      for (const row of rows) {
        const cell = row.querySelector(".speed");
        if (!cell) continue;
        cell.querySelector(".relative")?.remove();
        cell.querySelector(".absolute").hidden = base !== "";
        cell.dataset.label = base ? "times the samples/s" : "samples/s";
        if (base) cell.append(ratio(against(row, base), cell.querySelector(".bar"), reach));
      }
      heads.find((head) => head.dataset.speed !== undefined).firstChild.textContent =
        base ? "times the samples/s" : "samples/s";
    };
    const ratio = (line, bar, reach) => {
      const shown = make("div", { className: "relative" });
      if (!line) {
        shown.append(make("span", { className: "sub", textContent: "another kind of sample, or too many trials" }));
        return shown;
      }
      const own = line.trial_id === line.against;
      const digits = places(line.ratio);
      const datum = make("data", { value: String(line.ratio), textContent: `${line.ratio.toFixed(digits)}×` });
      datum.dataset.column = "ratio";
      const bounds = line.ratio_low === null ? "no interval"
        : `${line.ratio_low.toFixed(digits)} to ${line.ratio_high.toFixed(digits)}`;
      shown.append(datum, make("span", { className: "sub", textContent: own ? "the others are set against this" : bounds }));
      shown.append(scaled(bar.cloneNode(true), line, reach));
      return shown;
    };
    document.getElementById("base")?.addEventListener("change", (event) => relate(event.target.value));
  };
  const summary = document.getElementById("summary");
  if (summary) summarise(summary);

  // ---- read-outs of the charts -----------------------------------------------------------------------------------------

  const told = make("div", { id: "told", hidden: true });
  told.setAttribute("role", "status");
  document.body.append(told);
  let marked = null;
  const tell = (mark) => {
    if (mark === marked) return;
    marked?.classList.remove("marked");
    marked = mark;
    told.hidden = mark === null;
    if (mark === null) return;
    mark.classList.add("marked");
    told.textContent = mark.dataset.tell;
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(box.left + box.width / 2 - told.offsetWidth / 2, 8), innerWidth - told.offsetWidth - 8);
    told.style.left = `${left}px`;
    told.style.top = box.top > told.offsetHeight + 16 ? `${box.top - told.offsetHeight - 8}px` : `${box.bottom + 8}px`;
  };
  const REACH = 18;  // pixels from a mark within which a pointer means it
  const nearest = (marks, x, y) => {
    let [best, least] = [null, REACH];
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const away = Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
      // Of two that are both below the pointer the smaller one is meant: a mark on a bar.
      const far = away + Math.min(box.width * box.height, 1e6) / 1e7;
      if (far < least) [best, least] = [mark, far];
    }
    return best;
  };
  for (const chart of all("figure svg")) {
    const marks = all("[data-tell]", chart);
    if (!marks.length) continue;
    chart.addEventListener("pointermove", (event) => tell(nearest(marks, event.clientX, event.clientY)));
    chart.addEventListener("pointerleave", () => tell(null));
    chart.addEventListener("blur", () => tell(null));
    chart.tabIndex = 0;
    chart.setAttribute("aria-description", "The arrow keys read its marks one by one.");
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") tell(null);
      if (!step) return;
      event.preventDefault();
      const at = marks.indexOf(marked);
      tell(marks[at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length]);
    });
  }
  addEventListener("scroll", () => tell(null), { passive: true });

  // ---- keyboard, contents, print ---------------------------------------------------------------------------------------

  // What scrolls by itself can be reached and scrolled by keyboard.
  const reachable = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      const scrolls = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const block of all(".scroll, .clip, pre")) reachable.observe(block);

  const links = new Map(all("#contents a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(target.getAttribute("aria-labelledby"))?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const section of all("main > section")) seen.observe(section);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open]):not(.numbers)");  // the tables below the charts would be most of the paper
    for (const folded of opened) folded.open = true;
  });
  addEventListener("afterprint", () => { for (const folded of opened) folded.open = false; });
})();
