"use strict";

// After each event, the live part of the page is fetched again. The form beside it stays as it is.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

function draw(chart) {
  const points = JSON.parse(chart.dataset.points);
  const width = chart.clientWidth, height = chart.clientHeight;
  const box = { left: 52, right: width - 12, top: 12, bottom: height - 26 };
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}` });
  chart.replaceChildren(svg);
  if (points.length < 2) {
    svg.append(shape("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "Waiting for meter readings"));
    return;
  }
  const first = points[0][0], last = points[points.length - 1][0];
  const top = roundUp(Math.max(1, ...points.map((point) => point[1] / 1000)));
  const x = (time) => box.left + ((time - first) / (last - first || 1)) * (box.right - box.left);
  const y = (kilowatts) => box.bottom - (kilowatts / top) * (box.bottom - box.top);
  for (let step = 0; step <= 4; step += 1) {
    const value = (top * step) / 4;
    svg.append(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, `${+value.toFixed(2)} kW`));
  }
  const clock = (time) => new Date(time * 1000).toISOString().slice(11, 19);
  svg.append(shape("text", { x: box.left, y: height - 6 }, clock(first)));
  svg.append(shape("text", { x: box.right, y: height - 6, "text-anchor": "end" }, clock(last)));
  const line = points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1] / 1000).toFixed(1)}`).join(" L");
  svg.append(shape("path", { class: "area", d: `M${box.left},${box.bottom} L${line} L${box.right},${box.bottom} Z` }));
  svg.append(shape("path", { class: "power", d: `M${line}` }));
  svg.append(shape("circle", { class: "now", r: 4, cx: x(last), cy: y(points[points.length - 1][1] / 1000) }));
}

function drawAll() {
  document.querySelectorAll(".chart").forEach(draw);
}

function watch(live) {
  const link = document.getElementById("link");
  let busy = false, again = false;

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const url = new URL(live.dataset.live, location.href);
      url.searchParams.set("live", "1");
      const response = await fetch(url);
      if (response.ok) show(await response.text());
    } catch {
      // The site is down: when the stream reconnects, it refreshes again.
    }
    busy = false;
    if (again) {
      again = false;
      refresh();
    }
  }

  function show(html) {
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.dataset.key));
    const focused = live.contains(document.activeElement) ? document.activeElement.textContent : null;
    live.innerHTML = html;
    live.querySelectorAll("details").forEach((one) => { one.open = open.has(one.dataset.key); });
    if (focused !== null) [...live.querySelectorAll("button, a")].find((one) => one.textContent === focused)?.focus();
    drawAll();
  }

  const events = new EventSource(live.dataset.events);
  events.onopen = () => {
    link.textContent = "live";
    link.classList.add("live");
    refresh(); // for changes since the page was loaded
  };
  events.onerror = () => {
    link.textContent = "reconnecting";
    link.classList.remove("live");
  };
  events.onmessage = refresh;
}

document.querySelectorAll("[data-live]").forEach(watch);
document.querySelectorAll("[data-submit]").forEach((choice) => {
  choice.addEventListener("change", () => choice.form.requestSubmit());
});
document.addEventListener("submit", (event) => {
  if (event.target.method === "post") event.target.querySelector("button").disabled = true;
});
window.addEventListener("resize", drawAll);
drawAll();
