// The page as SVG. One unit of the SVG is one mm of paper.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

function html(tag, attributes = {}, text = null) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

// Two excursions nearer than this get one mark.
const CUT_TOGETHER_MM = 3;

const mm = (value) => Number(value.toFixed(3));

function gridPath(width, height, step) {
  let d = "";
  for (let x = 0; x <= width + 1e-9; x += step) d += `M${x} 0V${height}`;
  for (let y = 0; y <= height + 1e-9; y += step) d += `M0 ${y}H${width}`;
  return d;
}

function drawGrid(layer, page) {
  layer.replaceChildren(
    svg("rect", { class: "sheet", width: page.width, height: page.height }),
    svg("path", { class: "fine", d: gridPath(page.width, page.height, 1) }),
    svg("path", { class: "bold", d: gridPath(page.width, page.height, 5) }),
  );
}

// The trace, cut where it leaves its row, and where that happens: beyond an edge the pen is lifted,
// since a flat top would look like a signal.
function tracePath(page, panel, lead, fs) {
  const first = Math.round(panel.t0 * fs);
  const last = Math.min(Math.round(panel.t1 * fs), lead.mv.length);
  const cuts = [];
  let d = "";
  let before = null;
  for (let i = first; i < last; i += 1) {
    if (Number.isNaN(lead.mv[i])) {
      before = null;
      continue;
    }
    const [high, low] = [panel.limits.high[i], panel.limits.low[i]];
    const now = { x: page.x(i / fs), y: yOf(panel, lead.mv[i]) };
    now.edge = now.y < high ? high : now.y > low ? low : null;
    const crossed = (a, b) => a.x + ((b.x - a.x) * (b.edge - a.y)) / (b.y - a.y);
    if (now.edge === null) {
      if (before && before.edge !== null) d += `M${mm(crossed(now, before))} ${mm(before.edge)}`;
      d += `${before ? "L" : "M"}${mm(now.x)} ${mm(now.y)}`;
    } else {
      if (before && before.edge === null) d += `L${mm(crossed(before, now))} ${mm(now.edge)}`;
      const open = cuts[cuts.length - 1];
      const up = now.y < high;
      if (open && open.up === up && now.x - open.to < CUT_TOGETHER_MM) open.to = now.x;
      else cuts.push({ from: now.x, to: now.x, edge: now.edge, up });
    }
    before = now;
  }
  return { d, cuts };
}

// A mark where a trace goes on beyond the edge of its row.
function drawCuts(layer, panel, cuts) {
  for (const { from, to, edge, up } of cuts) {
    const x = (from + to) / 2;
    const half = Math.max((to - from) / 2, 0.9);
    const tip = up ? -1.3 : 1.3;
    const mark = svg("path", {
      class: "cut", "data-lead": panel.name,
      d: `M${mm(x - half)} ${mm(edge)}H${mm(x + half)}M${mm(x - 0.9)} ${mm(edge)}l0.9 ${tip}l0.9 ${-tip}z`,
    });
    mark.append(svg("title", {}, `Lead ${panel.name} goes on beyond its row`));
    layer.append(mark);
  }
}

function drawGaps(layer, page, panel, lead, fs) {
  let start = null;
  const first = Math.round(panel.t0 * fs);
  const last = Math.min(Math.round(panel.t1 * fs), lead.mv.length);
  for (let i = first; i <= last; i += 1) {
    const gap = i < last && Number.isNaN(lead.mv[i]);
    if (gap && start === null) start = i;
    if (!gap && start !== null) {
      layer.append(svg("rect", {
        class: "gap", x: mm(page.x(start / fs)), width: mm(((i - start) / fs) * page.speed),
        y: panel.base - 6, height: 12,
      }));
      start = null;
    }
  }
}

// Colour behind a trace where its part of sigma^2 is high: none below percentile 75.
function drawCells(layer, page, panel, cells) {
  const each = page.seconds / cells.length;
  cells.forEach((level, i) => {
    const begin = Math.max(i * each, panel.t0);
    const end = Math.min((i + 1) * each, panel.t1);
    if (level === null || level < 75 || end - begin < 1e-6) return;
    layer.append(svg("rect", {
      class: "cell", "data-lead": panel.name, x: mm(page.x(begin)), width: mm((end - begin) * page.speed),
      y: mm(panel.top), height: mm(panel.bottom - panel.top),
      "fill-opacity": (0.1 + (0.5 * (level - 75)) / 25).toFixed(2),
    }));
  });
}

function drawPulse(layer, page, panel) {
  const end = page.left - 1.5;
  const rise = end - page.pulseMm;
  const high = PULSE_MV * panel.gain;
  layer.append(svg("path", {
    class: "pulse", "data-gain": panel.gain,
    d: `M${mm(rise - 1)} ${panel.base}H${mm(rise)}V${mm(panel.base - high)}H${mm(end)}V${panel.base}H${mm(end + 1)}`,
  }));
}

// Beside its row, or above its trace where it covers none or least of it.
function drawName(layers, page, panel, lead, fs, fit) {
  const words = { measured: "", derived: "derived", missing: "" }[lead.origin];
  const gain = fit && lead.origin !== "missing" ? `${panel.gain} mm/mV` : "";
  const label = svg("text", { class: `name ${lead.origin}`, "data-lead": lead.name });
  if (page.named) {
    label.setAttribute("x", 1);
    label.setAttribute("y", panel.base + 1);
    label.append(svg("tspan", { class: "lead" }, lead.name));
    [words, gain].filter(Boolean).forEach((line, i) => {
      label.append(svg("tspan", { x: 1, dy: i ? 2.8 : 3.2, class: "note" }, line));
    });
  } else {
    const height = Math.min(10.5, panel.base - panel.top - 3);
    let best = [Infinity, 0];
    for (let shift = 1; shift <= 24; shift += 1) {
      const first = Math.max(Math.round((panel.t0 + (shift - 2) / page.speed) * fs), Math.round(panel.t0 * fs));
      let covered = 0;
      for (let i = first; lead.mv && i < first + Math.round((words || gain ? 19 : 11) / page.speed * fs); i += 1) {
        covered += lead.mv[i] * panel.gain > height - 2.5 ? 1 : 0;
      }
      if (covered < best[0]) best = [covered, shift];
    }
    label.setAttribute("x", mm(page.x(panel.t0) + best[1]));
    label.setAttribute("y", mm(panel.base - height));
    label.append(svg("tspan", { class: "lead" }, lead.name));
    const line = [words, gain].filter(Boolean).join(", ");
    if (line) label.append(svg("tspan", { dx: 1, class: "note" }, line));
  }
  layers.names.append(label);
  if (lead.origin === "missing") {
    const middle = page.x(panel.t0) + Math.min(panel.t1 - panel.t0, 2.5) * page.speed / 2;
    layers.words.append(svg("text", { class: "name missing note", x: mm(middle), y: panel.base + 1, "text-anchor": "middle" }, "not recorded"));
  }
}

function drawFoot(layer, page, settings) {
  for (let s = 0; s <= page.seconds + 1e-9; s += 1) {
    layer.append(svg("text", { class: "second", x: mm(page.x(s)), y: page.bottom + 3.5, "text-anchor": "middle" }, `${s} s`));
  }
  const gain = settings.fit ? "gain by lead, see each name" : `${settings.gain} mm/mV`;
  const absent = page.absent.length ? ` · not recorded: ${page.absent.join(", ")}` : "";
  layer.append(svg("text", { class: "scale", x: page.left, y: page.height - 1.8 }, `${settings.speed} mm/s · ${gain} · 0.5 to 40 Hz${absent}`));
}

// Marks over the beats and the interval to the next one between them, in ms.
function drawBeats(layer, page, beats) {
  beats.t.forEach((t, i) => {
    const x = mm(page.x(t));
    layer.append(svg("path", { class: "beat", "data-t": t, d: `M${x} 8l-1.2 -2.6h2.4z` }));
    const rr = beats.rr[i];
    if (rr === null || rr === undefined) return;
    const next = page.x(beats.t[i + 1]);
    const words = String(Math.round(rr));
    if (next - x < 1.7 * words.length + 0.6) return;
    layer.append(svg("text", { class: "rr", x: mm((x + next) / 2), y: 7.6, "text-anchor": "middle" }, words));
  });
  layer.append(svg("text", { class: "rr", x: 1, y: 7.6 }, page.left > 18 ? "RR in ms" : "RR ms"));
}

// The file's own letter of each beat that it marks, above ours.
function drawDevice(layer, page, device) {
  device.t.forEach((t, i) => {
    layer.append(svg("text", { class: "device", "data-t": t, x: mm(page.x(t)), y: 3.6, "text-anchor": "middle" }, device.symbol[i]));
  });
  if (device.t.length) layer.append(svg("text", { class: "device", x: 1, y: 3.6 }, "File"));
}

function drawPage(layers, page, data, leads, settings, under) {
  drawGrid(layers.grid, page);
  for (const name of ["cells", "traces", "words", "names"]) layers[name].replaceChildren();
  for (const panel of page.panels) {
    const lead = leads.get(panel.name);
    const alone = panel.column === 0;
    if (alone && (lead.origin !== "missing" || !page.named)) drawPulse(layers.traces, page, panel);
    if (settings.cells && data.cells && lead.mv) drawCells(layers.cells, page, panel, data.cells[LEADS.indexOf(panel.name)]);
    if (lead.mv) {
      drawGaps(layers.cells, page, panel, lead, data.fs);
      const other = under && under.get(panel.name);
      if (other && other.mv) {
        const { d } = tracePath(page, panel, other, data.fs);
        layers.traces.append(svg("path", { class: "trace under", "data-lead": panel.name, d }));
      }
      const { d, cuts } = tracePath(page, panel, lead, data.fs);
      layers.traces.append(svg("path", {
        class: `trace ${lead.origin}`, "data-lead": panel.name, "data-rhythm": panel.rhythm, d,
      }));
      drawCuts(layers.traces, panel, cuts);
    }
    if (!alone) {
      const x = mm(page.x(panel.t0));
      layers.traces.append(svg("path", { class: "border", d: `M${x} ${panel.base - 7}v3M${x} ${panel.base + 4}v3` }));
      if (settings.fit && lead.mv) {
        layers.traces.append(svg("path", { class: "pulse", "data-gain": panel.gain, d: `M${x + 0.7} ${panel.base}v${-panel.gain}m-0.7 0h1.4` }));
      }
    }
    drawName(layers, page, panel, lead, data.fs, settings.fit);
  }
  drawFoot(layers.words, page, settings);
  if (settings.beats) {
    drawBeats(layers.words, page, data.beats);
    drawDevice(layers.words, page, data.device);
  }
}
