// What the views share. Nothing here makes HTML of text: what users and documents say becomes text nodes alone.
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !["list", "form"].includes(name)) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((each) => each !== null && each !== undefined));
  return node;
};
const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const at = (view, path) => `files/${view.token}/${path.split("/").map(encodeURIComponent).join("/")}`;
const loaded = (source) =>
  new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("This picture is no longer kept: run it again."));
    image.src = source;
  });
const percent = (share) => (share < 0.0995 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`);
const rgb = (colour) => [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
const notes = (list) =>
  list && list.length ? el("ul", { className: "notes" }, ...list.map((each) => el("li", {}, each))) : null;
const download = (address, text, about) =>
  el("a", { href: address, download: "", className: "get", title: about, role: "button" }, text);
const trouble = (root, sentence) => {
  let place = root.querySelector(".trouble");
  if (!place) root.prepend((place = el("p", { className: "trouble", role: "alert" })));
  place.textContent = sentence;
};
const begin = (empty, draw) => {
  const show = () => {
    const root = element.querySelector(".view");
    if (!root) return;
    root.replaceChildren();
    if (props.value && props.value.token) draw(root, props.value);
    else if (props.value && props.value.trouble) trouble(root, props.value.trouble);
    else root.append(el("p", { className: "empty" }, empty));
  };
  watch("value", show);
  show();
};
