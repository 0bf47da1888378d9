// A document: its pages with boxes by class, and what stands in them; each click leads to the other side.
begin("Drop a PDF, a TIFF or a picture of a page. Its pages and what stands on them appear here.", (root, view) => {
  const hues = { title: "#0058b0", heading: "#0f7ba8", text: "#4a5a6a", list_item: "#3f7d20", table: "#b3491b", figure: "#8a3f8f",
    caption: "#a0701a", footnote: "#7a6a55", formula: "#a8235a", page_header: "#7d8590", page_footer: "#7d8590", other: "#6a6a6a",
    code: "#2b6e6e" };
  const titles = (type) => type.replace("_", " ");
  let current = 0;
  const hidden = new Set();
  const image = el("img", { className: "picture", alt: "" });
  const boxes = svg("svg", { class: "boxes", preserveAspectRatio: "none" });
  const tip = el("div", { className: "tip", hidden: true });
  const stage = el("div", { className: "sheet" }, image, boxes, tip);
  const frame = el("div", { className: "frame" }, stage);
  const text = el("div", { className: "words", tabIndex: 0, role: "region", ariaLabel: "Text of the page" });
  const where = el("span", { className: "where", ariaLive: "polite" });
  const kinds = el("div", { className: "kinds", role: "group", ariaLabel: "Kinds of blocks that are shown" });
  const number = el("input", { type: "number", min: 1, ariaLabel: "Page", onchange: () => {
    const asked = Number(number.value), place = view.pages.findIndex((page) => page.number === asked);
    go(place < 0 ? current : place);
    if (place < 0) where.textContent += asked >= 1 && asked <= view.count ? `; page ${asked} was not parsed` : `; there is no page ${asked}`;
  } });
  const back = el("button", { type: "button", onclick: () => go(current - 1), ariaLabel: "Page before" }, "‹");
  const on = el("button", { type: "button", onclick: () => go(current + 1), ariaLabel: "Next page" }, "›");
  const larger = el("button", { type: "button", ariaPressed: "false", ariaLabel: "Page in twice the size", title: "Twice the size", onclick: () => {
    larger.setAttribute("aria-pressed", String(frame.classList.toggle("large")));
  } }, "+");

  const go = (place) => {
    current = Math.min(view.pages.length - 1, Math.max(0, place));
    const page = view.pages[current];
    number.value = page.number;
    where.textContent = `of ${view.count}` + (view.pages.length < view.count ? `, ${view.pages.length} parsed` : "");
    back.disabled = current === 0;
    on.disabled = current === view.pages.length - 1;
    image.src = at(view, `page/${page.number}.jpg`);
    image.alt = `Page ${page.number}`;
    stage.style.aspectRatio = `${page.width} / ${page.height}`;
    boxes.setAttribute("viewBox", `0 0 ${page.width} ${page.height}`);
    boxes.replaceChildren();
    text.replaceChildren();
    text.scrollTop = 0;
    const there = [...new Set(page.blocks.map((block) => block.type))];
    kinds.replaceChildren(...there.map((type) => el("button", { type: "button", ariaPressed: String(!hidden.has(type)),
      style: `--hue: ${hues[type] || hues.other}`, onclick: () => { hidden.has(type) ? hidden.delete(type) : hidden.add(type); go(current); } },
      titles(type))));
    page.blocks.forEach((block) => {
      if (hidden.has(block.type)) return;
      boxes.append(box(block));
      text.append(written(block));
    });
    if (!page.blocks.length) text.append(el("p", { className: "empty" }, page.error || "Nothing was found on this page."));
    text.append(el("p", { className: "source" }, page.source && page.source !== "none"
      ? `Words: ${page.source === "pdf" ? "the document's own" : page.source}` : "No words: nothing here can read them."));
  };
  const about = (block) => [titles(block.type) + (block.level ? ` ${block.level}` : ""),
    block.score === undefined ? "found by its words" : percent(block.score),
    block.second ? `or ${block.second[0]} ${percent(block.second[1])}` : null].filter(Boolean).join(" · ");
  const box = (block) => {
    const [x0, y0, x1, y1] = block.bbox;
    const shape = svg("rect", { x: x0 - 2, y: y0 - 2, width: x1 - x0 + 4, height: y1 - y0 + 4, tabindex: 0, role: "button",
      "data-id": block.id, style: `--hue: ${hues[block.type] || hues.other}`,
      "aria-label": `${titles(block.type)}: ${(block.text || "").slice(0, 80)}` });
    const jump = () => meet(block.id, text.querySelector(`[data-id="${CSS.escape(block.id)}"]`));
    shape.addEventListener("click", jump);
    shape.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); jump(); } });
    const tell = () => {
      const page = view.pages[current];
      tip.replaceChildren(el("strong", {}, about(block)), el("span", {}, (block.text || "").slice(0, 240)));
      tip.hidden = false;
      tip.style.left = `${Math.min(60, (100 * x0) / page.width)}%`;
      const low = y0 > page.height / 2;
      tip.style.top = low ? "auto" : `${(100 * y1) / page.height}%`;
      tip.style.bottom = low ? `${100 - (100 * y0) / page.height}%` : "auto";
    };
    ["mouseenter", "focus"].forEach((each) => shape.addEventListener(each, tell));
    ["mouseleave", "blur"].forEach((each) => shape.addEventListener(each, () => (tip.hidden = true)));
    return shape;
  };
  const meet = (id, target) => {
    root.querySelectorAll(".met").forEach((each) => each.classList.remove("met"));
    root.querySelectorAll(`[data-id="${CSS.escape(id)}"]`).forEach((each) => each.classList.add("met"));
    if (!target) return;
    if (text.contains(target)) text.scrollTo({ top: target.offsetTop - text.offsetTop - 40, behavior: "smooth" });
    else stage.scrollIntoView({ block: "nearest", behavior: "smooth" });
    target.focus({ preventScroll: true });
  };
  const written = (block) => {
    const jump = () => meet(block.id, boxes.querySelector(`[data-id="${CSS.escape(block.id)}"]`));
    const node = el("div", { className: `block ${block.type}`, tabIndex: 0, role: "button", style: `--hue: ${hues[block.type] || hues.other}`,
      onclick: jump, onkeydown: (event) => { if (event.key === "Enter") jump(); } }, content(block));
    node.dataset.id = block.id;
    node.title = about(block);
    return node;
  };
  const content = (block) => {
    if (block.type === "table" && block.table) return table(block.table);
    if (block.type === "figure" && block.figure)
      return el("img", { src: at(view, `figure/${block.figure}`), alt: block.text || "Figure", loading: "lazy" });
    if (block.type === "title" || block.type === "heading")
      return el(`h${Math.min(6, 2 + (block.level || 1))}`, {}, block.text || "");
    if (block.type === "list_item") return el("p", {}, el("span", { className: "marker" }, block.marker || "•"), ` ${block.text || ""}`);
    if (block.type === "code") return el("pre", {}, block.text || "");
    return el("p", {}, block.text || (block.type === "figure" ? "(figure)" : "(no text)"));
  };
  const table = (found) => {
    const rows = Array.from({ length: found.rows || 0 }, () => el("tr"));
    (found.cells || []).forEach((cell) => rows[cell.row || 0]?.append(
      el(cell.header ? "th" : "td", { rowSpan: cell.rows || 1, colSpan: cell.columns || 1 }, cell.text || "")));
    return el("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Table" }, el("table", {}, ...rows));
  };
  const files = Object.entries(view.files).map(([title, name]) => download(at(view, `out/${name}`), title, name));
  root.append(
    el("div", { className: "bar" }, back, number, where, on, larger, kinds),
    el("div", { className: "both" }, frame, text),
    ...[notes(view.notes)].filter(Boolean),
    el("div", { className: "downloads", role: "group", ariaLabel: "Downloads" }, el("span", {}, "Download"), ...files,
      download(at(view, "parsed.zip"), "All as ZIP", "All formats and the figures")));
  go(0);
});
