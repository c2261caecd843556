"use strict";
// Names the trial nearest to the pointer. Texts are set as text, never as HTML: other programs write names, too.
const shown = JSON.parse(document.getElementById("points").textContent);
const tip = document.getElementById("tip");
const ring = document.getElementById("ring");
const phone = matchMedia("(max-width: 40rem)");
const REACH = 16; // pixels

function points(image) {
  return shown.pictures[image.dataset.picture][phone.matches ? "phone" : "wide"] ?? [];
}

function place(image, [x, y]) {
  const box = image.getBoundingClientRect();
  return [box.left + (x / shown.scale) * box.width, box.top + (y / shown.scale) * box.height];
}

function nearest(image, event) {
  let best = null, least = REACH;
  for (const point of points(image)) {
    const [x, y] = place(image, point);
    const distance = Math.hypot(x - event.clientX, y - event.clientY);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

function line(text, kind) {
  const element = tip.appendChild(document.createElement("div"));
  element.className = kind;
  element.textContent = text;
}

function show(image, point) {
  tip.hidden = ring.hidden = point === null;
  if (point === null) return;
  const [title, values] = shown.trials[point[2]];
  tip.replaceChildren();
  line(title, "title");
  shown.names.forEach((name, i) => {
    if (values[i] !== null) line(`${name} = ${values[i]}`, "value");
  });
  const [x, y] = place(image, point);
  ring.style.translate = `${x + scrollX}px ${y + scrollY}px`;
  const left = Math.min(Math.max(x + 14, 4), document.documentElement.clientWidth - tip.offsetWidth - 4);
  const below = y + 14 + tip.offsetHeight < innerHeight;
  const top = below ? y + 14 : Math.max(y - 14 - tip.offsetHeight, 0);
  tip.style.translate = `${left + scrollX}px ${top + scrollY}px`;
}

for (const image of document.querySelectorAll("img[data-picture]")) {
  let current = -1;
  for (const kind of ["pointermove", "pointerdown"]) {
    image.addEventListener(kind, event => show(image, nearest(image, event)));
  }
  for (const kind of ["pointerleave", "blur"]) image.addEventListener(kind, () => show(image, null));
  image.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show(image, null);
    if (step === undefined) return;
    event.preventDefault();
    const ordered = [...points(image)].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    current = (current + step + ordered.length) % ordered.length;
    show(image, ordered[current]);
  });
}
