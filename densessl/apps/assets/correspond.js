// Pictures side by side: a place in one of them, and what in all of them resembles it.
begin("Drop two pictures or more, or take an example. Then point at a place in one of them.", (root, view) => {
  let asked = null, busy = false, pinned = false;
  const ramp = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]]; // plasma, of matplotlib
  const colour = (share) => {
    const place = Math.min(0.9999, Math.max(0, share)) * (ramp.length - 1), low = Math.floor(place), rest = place - low;
    return ramp[low].map((value, channel) => value + rest * (ramp[low + 1][channel] - value));
  };
  const said = el("p", { className: "under", ariaLive: "polite" },
    "Move over a picture, or tap it; a click holds the place. With the keyboard: Tab to a picture, then the arrow keys.");
  const tiles = view.pictures.map((picture, number) => {
    const image = el("img", { className: "picture", src: at(view, picture.image), alt: "" });
    const heat = el("canvas", { className: "heat" }), mark = el("span", { className: "mark", hidden: true });
    const value = el("span", { className: "value" });
    const stage = el("div", { className: "stage", tabIndex: 0, role: "application",
      ariaLabel: `${picture.name}: choose a place with the arrow keys` }, image, heat, mark);
    const place = (event) => {
      const box = stage.getBoundingClientRect(), within = (share) => Math.min(1, Math.max(0, share));
      return [number, within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
    };
    stage.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" ? !pinned || event.buttons : event.buttons) ask(...place(event));
    });
    stage.addEventListener("pointerdown", (event) => ask(...place(event)));
    stage.addEventListener("click", (event) => {
      pinned = !(pinned && event.pointerType === "mouse");
      root.classList.toggle("pinned", pinned);
      ask(...place(event));
    });
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.03, 0], ArrowRight: [0.03, 0], ArrowUp: [0, -0.03], ArrowDown: [0, 0.03] }[event.key];
      if (!step) return;
      event.preventDefault();
      pinned = true;
      const from = asked && asked[0] === number ? asked : [number, 0.5, 0.5];
      ask(number, ...[0, 1].map((axis) => Math.min(1, Math.max(0, from[axis + 1] + step[axis]))));
    });
    return { picture, heat, mark, value,
      figure: el("figure", {}, stage, el("figcaption", {}, el("span", { className: "name" }, picture.name), value)) };
  });

  const ask = (...place) => {
    asked = place;
    if (!busy) next();
  };
  const next = async () => {
    const place = asked;
    busy = true;
    try {
      const [picture, x, y] = place;
      const answer = await fetch(at(view, "heat") + `?picture=${picture}&x=${x.toFixed(4)}&y=${y.toFixed(4)}`);
      if (!answer.ok) throw new Error(await answer.text());
      show(place, await answer.json());
    } catch (error) {
      trouble(root, error.message);
    }
    busy = false;
    if (asked !== place) next();
  };
  const show = (place, heats) => {
    const values = heats.map((heat) => Int8Array.from(atob(heat.values), (letter) => letter.charCodeAt(0)));
    const all = [].concat(...values.map((each) => Array.from(each))).sort((a, b) => a - b);
    // What half of all places reach is no resemblance; it stays as it is.
    const low = all[Math.floor(all.length / 2)] / 127, high = Math.max(low + 0.05, 1);
    tiles.forEach((tile, number) => {
      const { rows, columns, best } = heats[number], made = new ImageData(columns, rows);
      values[number].forEach((value, index) => {
        const share = Math.max(0, (value / 127 - low) / (high - low));
        made.data.set([...colour(share), 255 * Math.min(0.88, 1.5 * share)], 4 * index);
      });
      const small = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
      small.getContext("2d").putImageData(made, 0, 0);
      tile.heat.width = 12 * columns;
      tile.heat.height = 12 * rows;
      const context = tile.heat.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, tile.heat.width, tile.heat.height);
      const own = number === place[0];
      tile.mark.hidden = false;
      tile.mark.className = own ? "mark own" : "mark";
      tile.mark.style.left = `${100 * best[0]}%`;
      tile.mark.style.top = `${100 * best[1]}%`;
      tile.value.textContent = own ? "chosen" : `most alike: ${(Math.max(...values[number]) / 127).toFixed(2)}`;
      tile.figure.classList.toggle("own", own);
    });
  };
  root.append(said,
    el("div", { className: "tiles", style: `--tile: ${view.pictures.length < 5 ? 360 : 250}px` }, ...tiles.map((tile) => tile.figure)),
    el("p", { className: "scale", ariaHidden: "true" }, "less alike", el("span", {}), "more alike"),
    ...[notes(view.notes)].filter(Boolean));
  ask(0, 0.5, 0.5);
});
