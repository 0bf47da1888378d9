// A backbone: what is known of it, the curves of its run, and the run's pictures.
begin("Choose a backbone to see what is known of it.", (root, view) => {
  const curve = ([name, points]) => {
    const xs = points.map((each) => each[0]), ys = points.map((each) => each[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const path = points.map(([x, y]) => `${(300 * (x - left)) / (right - left || 1)},${94 - (88 * (y - low)) / (high - low || 1)}`).join(" ");
    const short = (value) => (Math.abs(value) >= 1000 || (value && Math.abs(value) < 0.001) ? value.toExponential(1) : String(+value.toPrecision(3)));
    return el("figure", { className: "curve" },
      el("figcaption", {}, name.replaceAll("_", " ")),
      svg("svg", { viewBox: "0 0 300 100", role: "img", "aria-label": `${name}: from ${short(ys[0])} to ${short(ys[ys.length - 1])}`, preserveAspectRatio: "none" },
        svg("polyline", { points: path })),
      el("p", {}, el("span", {}, `${short(low)} – ${short(high)}`), el("span", {}, `${right} steps`)));
  };
  root.append(
    el("h3", {}, view.name), el("p", {}, view.about),
    el("dl", {}, ...Object.entries(view.figures).flatMap(([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, value)])),
    el("div", { className: "curves" }, ...Object.entries(view.curves).map(curve)),
    el("div", { className: "shots" }, ...view.pictures.map((name, number) => el("figure", {},
      el("a", { href: at(view, `run/${number}`), target: "_blank", rel: "noopener" },
        el("img", { src: at(view, `run/${number}`), alt: name, loading: "lazy" })), el("figcaption", {}, name)))),
    ...(view.settings ? [el("details", {}, el("summary", {}, "Settings"), el("pre", {}, view.settings))] : []));
});
