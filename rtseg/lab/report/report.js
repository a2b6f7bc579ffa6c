"use strict";
// Charts tell their numbers at the pointer and by keys; those over time lead the video and follow it.
const video = document.querySelector("video");
const followers = [];
const number = (value) => (value === null ? "none" : String(Number(value.toPrecision(4))));

function nearest(values, wanted) {
  let low = 0, high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low > 0 && wanted - values[low - 1] < values[low] - wanted ? low - 1 : low;
}

function live(svg) {
  const chart = JSON.parse(svg.dataset.chart);
  const strips = chart.strips.filter((strip) => strip.x.length);
  if (!strips.length) return;
  // Curves over shares may go back and forth; a reading looks for the nearest of sorted ones.
  for (const strip of strips) {
    const order = strip.x.map((_, i) => i).filter((i) => strip.x[i] !== null).sort((a, b) => strip.x[a] - strip.x[b]);
    [strip.x, strip.y] = [order.map((i) => strip.x[i]), order.map((i) => strip.y[i])];
  }
  const stops = [...new Set(strips.flatMap((strip) => strip.x))].sort((a, b) => a - b);
  const plot = svg.closest(".plot"), told = plot.querySelector(".told");
  const top = Math.min(...strips.map((strip) => strip.top)), bottom = Math.max(...strips.map((strip) => strip.bottom));
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("stroke", "currentColor");
  cursor.setAttribute("y1", top);
  cursor.setAttribute("y2", bottom);
  cursor.style.visibility = "hidden";
  svg.append(cursor);
  svg.dataset.live = "";
  const name = svg.getAttribute("aria-label");
  plot.tabIndex = 0;
  for (const [key, value] of Object.entries({
    role: "slider", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": stops.length - 1, "aria-valuenow": 0,
    "aria-valuetext": "no point chosen",
  })) plot.setAttribute(key, value);
  let at = 0;

  function show(index) {
    at = Math.max(0, Math.min(stops.length - 1, index));
    const value = stops[at];
    const x = chart.left + (value - chart.from) / (chart.to - chart.from) * (chart.right - chart.left);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const place = chart.ticks ? chart.ticks[value] : chart.unit.length > 2 ? `${chart.unit} ${number(value)}`
      : `${chart.time ? value.toFixed(2) : number(value)} ${chart.unit}`.trim();
    const parts = strips.map((strip) =>
      `${strip.name} ${number(strip.y[nearest(strip.x, value)])} ${strip.unit}`.trim());
    told.textContent = `${place}: ${parts.join(", ")}`;
    plot.setAttribute("aria-valuenow", at);
    plot.setAttribute("aria-valuetext", told.textContent);
  }
  function point(event) {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const per = (chart.to - chart.from) / (chart.right - chart.left);
    const value = chart.from + ((event.clientX - box.left) * scale - chart.left) * per;
    let index = nearest(stops, value);
    if (chart.time) {
      // A spike is one frame wide: the highest of those under a fingertip is meant.
      const y = (event.clientY - box.top) * scale;
      const strip = strips.find((one) => y <= one.bottom) || strips[strips.length - 1];
      const reach = 6 * scale * per;
      const near = strip.x.map((_, i) => i).filter((i) => Math.abs(strip.x[i] - value) <= reach && strip.y[i] !== null);
      if (near.length) index = nearest(stops, strip.x[near.reduce((a, b) => (strip.y[b] > strip.y[a] ? b : a))]);
    }
    show(index);
  }
  function seek() {
    if (!video || !chart.time) return;
    video.pause();
    video.currentTime = stops[at] + 0.002;
  }
  svg.addEventListener("pointermove", point);
  svg.addEventListener("click", (event) => { point(event); seek(); plot.focus({ preventScroll: true }); });
  plot.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.round(stops.length / 20));
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - page,
      PageUp: at + page, Home: 0, End: stops.length - 1, Enter: at }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
    seek();
  });
  if (chart.time) followers.push(() => show(nearest(stops, video.currentTime)));
}

document.querySelectorAll("svg[data-chart]").forEach(live);
if (video) video.addEventListener("timeupdate", () => { if (!video.paused) followers.forEach((follow) => follow()); });

const pictures = [...document.querySelectorAll("figure button")];
if (pictures.length) {
  const dialog = document.createElement("dialog"), image = new Image(), line = document.createElement("p");
  const words = document.createElement("span"), close = document.createElement("button");
  close.textContent = "Close";
  line.append(words, close);
  dialog.append(image, line);
  document.body.append(dialog);
  let shown = 0;
  const show = (index) => {
    shown = (index + pictures.length) % pictures.length;
    const small = pictures[shown].querySelector("img");
    image.src = small.src;
    image.alt = words.textContent = small.alt;
    dialog.setAttribute("aria-label", small.alt);
    if (!dialog.open) dialog.showModal();
  };
  pictures.forEach((button, index) => button.addEventListener("click", () => show(index)));
  close.addEventListener("click", () => dialog.close());
  image.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { event.preventDefault(); show(shown + step); }
  });
}
