// Pictures, their segments, and the legend in which these are renamed, recoloured and merged.
begin("Drop pictures, or take an example. What is found in them appears here.", (root, view) => {
  let current = 0, lit = null, strength = 0.5, drawn = null, saving = Promise.resolve(true), timer = null;
  let edited = 0, saved = 0; // edits that were made, and how many of them the application has
  const segments = view.segments.map((each) => ({ ...each }));
  const plain = el("img", { className: "picture", alt: "" });
  const canvas = el("canvas", { className: "picture", role: "img" });
  const under = el("p", { className: "under", ariaLive: "polite" });
  const head = (index) => segments[segments[index].into];

  const strip = el("div", { className: "strip", role: "group", ariaLabel: "Pictures" });
  view.pictures.forEach((picture, number) =>
    strip.append(
      el("button", { type: "button", title: picture.name, onclick: () => choose(number) },
        el("img", { src: at(view, picture.image), alt: picture.name, loading: "lazy" }))));

  const choose = async (number) => {
    current = number;
    [...strip.children].forEach((each, place) => each.setAttribute("aria-pressed", place === number));
    const picture = view.pictures[number];
    plain.src = at(view, picture.image);
    plain.alt = picture.name;
    canvas.setAttribute("aria-label", `Segments of ${picture.name}`);
    under.textContent = `${picture.name}, ${picture.width} × ${picture.height}`;
    getMask.href = at(view, `mask/${number}.png`);
    getOverlay.href = at(view, `overlay/${number}.jpg`);
    try {
      const [image, map] = await Promise.all([loaded(plain.src), loaded(at(view, picture.map))]);
      if (current !== number) return;
      drawn = pixels(image, map);
      tint();
    } catch (error) {
      trouble(root, error.message);
    }
  };
  const pixels = (image, map) => {
    const wide = map.naturalWidth, high = map.naturalHeight;
    const read = (source) => {
      const context = Object.assign(document.createElement("canvas"), { width: wide, height: high })
        .getContext("2d", { willReadFrequently: true });
      context.drawImage(source, 0, 0, wide, high);
      return context.getImageData(0, 0, wide, high).data;
    };
    const colours = read(image), indices = read(map), labels = new Uint8Array(wide * high);
    for (let place = 0; place < labels.length; place++) labels[place] = indices[4 * place];
    return { wide, high, colours, labels };
  };
  // As densessl.segmentation's overlays: half grey, tinted, with a light line where segments meet.
  const tint = () => {
    if (!drawn) return;
    const { wide, high, colours, labels } = drawn;
    canvas.width = wide;
    canvas.height = high;
    const context = canvas.getContext("2d"), made = context.createImageData(wide, high), data = made.data;
    const table = segments.map((each) => each.into), tints = segments.map((each) => rgb(head(each.index).colour));
    const line = Math.max(1, Math.round(Math.min(wide, high) / 400));
    for (let y = 0, place = 0; y < high; y++)
      for (let x = 0; x < wide; x++, place++) {
        const own = table[labels[place]], four = 4 * place;
        const edge = (x >= line && table[labels[place - line]] !== own) || (y >= line && table[labels[place - line * wide]] !== own);
        const share = lit === null ? strength : lit === own ? Math.max(0.55, strength) : 0.08;
        const grey = 0.299 * colours[four] + 0.587 * colours[four + 1] + 0.114 * colours[four + 2];
        for (let channel = 0; channel < 3; channel++) {
          let value = (0.5 * colours[four + channel] + 0.5 * grey) * (1 - share) + share * tints[own][channel];
          if (lit !== null && lit !== own) value = 0.45 * value + 0.55 * grey * 0.6;
          if (edge) value = 0.15 * value + 0.85 * 255;
          data[four + channel] = value;
        }
        data[four + 3] = 255;
      }
    context.putImageData(made, 0, 0);
  };

  const legend = el("div", { className: "legend", role: "group", ariaLabel: "Segments" });
  const shares = () =>
    segments.map((each) => segments.filter((other) => other.into === each.index).reduce((sum, other) => sum + other.share, 0));
  const list = () => {
    legend.replaceChildren();
    const total = shares();
    segments.forEach((segment) => {
      const merged = segment.into !== segment.index, number = segment.index + 1;
      const into = el("select", { ariaLabel: `Merge segment ${number} into another`, title: "Merge into another segment",
        onchange: (event) => merge(segment, Number(event.target.value)) },
        el("option", { value: segment.index }, merged ? "separate again" : "merge into"),
        ...segments.filter((each) => each.into === each.index && each !== segment)
          .map((each) => el("option", { value: each.index, selected: segment.into === each.index }, each.name)));
      legend.append(
        el("div", { className: merged ? "row merged" : "row",
          onmouseenter: () => light(segment.into), onmouseleave: () => light(null) },
          el("input", { type: "color", value: head(segment.index).colour, disabled: merged,
            ariaLabel: `Colour of segment ${number}`,
            oninput: (event) => { segment.colour = event.target.value; tint(); save(); } }),
          el("input", { type: "text", value: merged ? `part of ${head(segment.index).name}` : segment.name, disabled: merged,
            maxLength: 60, ariaLabel: `Name of segment ${number}`, spellcheck: false,
            onfocus: () => light(segment.into), onblur: () => light(null),
            onchange: (event) => { segment.name = event.target.value.trim() || `segment ${number}`; list(); save(); } }),
          el("span", { className: "share" }, merged ? "" : percent(total[segment.index])),
          into));
    });
  };
  const light = (index) => {
    if (lit === index) return;
    lit = index;
    tint();
  };
  const merge = (segment, into) => {
    segments.filter((each) => each.into === segment.index).forEach((each) => (each.into = into));
    segment.into = into;
    lit = null;
    list();
    tint();
    save();
  };
  const save = () => {
    edited += 1;
    clearTimeout(timer);
    timer = setTimeout(flush, 150);
  };
  // One after another, the last one last; whether the application has all that was edited when it begins.
  const flush = () => {
    clearTimeout(timer);
    saving = saving.then(send).catch(() => {
      trouble(root, "The application does not answer: the last edit is not saved.");
      return false;
    });
    return saving;
  };
  const send = async () => {
    const sent = edited;
    if (saved === sent) return true;
    const edits = segments.map(({ name, colour, into }) => ({ name, colour, into }));
    const answer = await fetch(at(view, "edits"), { method: "POST", body: JSON.stringify(edits) });
    if (answer.ok) {
      saved = sent;
      root.querySelector(".trouble")?.remove();
    } else trouble(root, await answer.text());
    return answer.ok;
  };
  // A download is made of what is saved, so edits that are not saved yet, or are on their way, go first.
  const first = async (event) => {
    if (saved === edited) return;
    event.preventDefault();
    const link = event.currentTarget.cloneNode(); // of the picture that is chosen now, and without this listener
    while (saved !== edited) if (!(await flush())) return;
    link.click();
  };

  const getMask = download("", "Mask PNG", "The segment of each pixel of this picture, as a number");
  const getOverlay = download("", "Overlay JPG", "This picture, tinted");
  const others = [
    download(at(view, "coco.json"), "COCO", "All pictures as COCO annotations"),
    download(at(view, "segments.zip"), "All as ZIP", "Masks, overlays, COCO and the legend"),
  ];
  [getMask, getOverlay, ...others].forEach((each) => each.addEventListener("click", first));
  const hovered = (event) => {
    if (!drawn) return;
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * drawn.wide);
    const y = Math.floor(((event.clientY - box.top) / box.height) * drawn.high);
    const index = drawn.labels[Math.min(drawn.high - 1, Math.max(0, y)) * drawn.wide + Math.min(drawn.wide - 1, Math.max(0, x))];
    canvas.title = head(index).name;
  };
  canvas.addEventListener("pointermove", hovered);

  root.append(
    ...(view.pictures.length > 1 ? [strip] : []),
    el("div", { className: "side" },
      el("figure", {}, plain, el("figcaption", {}, "Picture")),
      el("figure", {}, canvas, el("figcaption", {}, "Segments")),
      el("div", { className: "panel" },
        el("h3", {}, view.pictures.length > 1 ? "Legend, with shares of all pictures" : "Legend"), legend,
        el("label", { className: "strength" }, "Tint",
          el("input", { type: "range", min: 0, max: 1, step: 0.05, value: strength,
            oninput: (event) => { strength = Number(event.target.value); tint(); } })))),
    under, ...[notes(view.notes)].filter(Boolean),
    el("div", { className: "downloads", role: "group", ariaLabel: "Downloads" }, el("span", {}, "Download"), getMask, getOverlay, ...others));
  list();
  choose(0);
});
