// A map of the collection on a canvas: thousands of dots, the hits with their ranks, the query.
// A click, or Enter after the arrow keys, chooses an item, and a drag with the lasso or the box an
// area; the choice is made by the server.

const LIGHT = { ink: "#1b2430", ground: "#ffffff", axis: "#4a5462" };
const DARK = { ink: "#f2f4f8", ground: "#14171d", axis: "#aeb6c2" };
// The page takes its new theme some moments after the machine has changed to it.
const THEME_MS = 400;
const FAINT = 0.13;
const REACH_PX = 16;
const MARGIN = 26;
// What an area needs to follow a hand, and no more than a message may hold.
const STEP_PX = 4;
const MOST_CORNERS = 300;

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

class GalleryMap {
  constructor(root) {
    this.box = element("div", { class: "gallery-map" });
    this.plane = element("div", {
      class: "plane", tabindex: "0", role: "group",
      "aria-label": "Map of the collection. Left and right arrow keys go through the items found, "
        + "Enter chooses one. The list holds the same items.",
    });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.tip = element("div", { class: "tip" });
    this.tip.hidden = true;
    this.live = element("div", { class: "live", "aria-live": "polite" });
    this.plane.append(this.canvas, this.tip, this.live);
    this.legend = element("ul", { class: "legend" });
    const bar = element("div", { class: "bar" });
    const button = (words, label, act) => {
      const made = element("button", { type: "button", "aria-label": label }, words);
      made.addEventListener("click", act);
      bar.append(made);
      return made;
    };
    button("+", "Zoom in", () => this.zoom(1.6));
    button("−", "Zoom out", () => this.zoom(1 / 1.6));
    button("Whole map", "Show the whole map", () => this.whole());
    this.tools = {};
    for (const [tool, words, label] of [
      ["lasso", "Lasso", "Choose an area: draw around it"],
      ["rectangle", "Box", "Choose an area: draw a box around it"],
    ]) {
      this.tools[tool] = button(words, `${label}. By keyboard, use the filters of the page`,
        () => this.use(this.tool === tool ? null : tool));
    }
    this.box.append(bar, this.plane, this.legend);
    root.append(this.box);
    this.scale = 1;
    this.at = [0, 0];
    this.cursor = -1;
    this.path = [];
    this.use(null);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.plane);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      setTimeout(() => { this.draw(); this.showLegend(); }, THEME_MS);
    });
  }

  take({ data, setTriggerValue }) {
    this.send = setTriggerValue;
    this.data = data;
    this.xy = new Float32Array(bytes(data.xy).buffer);
    this.rows = new Int32Array(bytes(data.rows).buffer);
    this.colour = bytes(data.colour);
    this.percentile = bytes(data.percentile);
    this.passing = bytes(data.passing);
    this.place = new Map(Array.from(this.rows, (row, i) => [row, i]));
    this.bounds();
    this.cursor = -1;
    if (this.identity !== data.identity) {
      this.identity = data.identity;
      this.scale = 1;
      this.at = [0, 0];
    }
    this.showLegend();
    this.draw();
  }

  bounds() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    const all = this.data.query ? [...this.xy, ...this.data.query] : this.xy;
    for (let i = 0; i < all.length; i += 2) {
      left = Math.min(left, all[i]);
      right = Math.max(right, all[i]);
      low = Math.min(low, all[i + 1]);
      high = Math.max(high, all[i + 1]);
    }
    this.middle = [(left + right) / 2, (low + high) / 2];
    // One scale for both directions: what looks twice as far is twice as far.
    this.extent = Math.max(right - left, high - low, 1e-6);
  }

  whole() {
    this.scale = 1;
    this.at = [0, 0];
    this.draw();
  }

  zoom(by) {
    const chosen = this.place.get(this.data.chosen);
    if (by > 1 && this.scale === 1) {
      // Towards what is looked at: the chosen item, or the query.
      const goal = chosen !== undefined ? [this.xy[2 * chosen], this.xy[2 * chosen + 1]] : this.data.query;
      if (goal) this.at = [goal[0] - this.middle[0], goal[1] - this.middle[1]];
    }
    this.scale = Math.min(Math.max(this.scale * by, 1), 40);
    if (this.scale === 1) this.at = [0, 0];
    this.draw();
  }

  get unit() {
    return ((this.side - 2 * MARGIN) / this.extent) * this.scale;
  }

  use(tool) {
    this.tool = tool;
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === tool));
    // A finger that draws must not scroll the page.
    this.canvas.style.touchAction = tool ? "none" : "pan-y";
  }

  unpixel(px, py) {
    return [
      (px - this.width / 2) / this.unit + this.middle[0] + this.at[0],
      (this.height / 2 - py) / this.unit + this.middle[1] + this.at[1],
    ];
  }

  extend(point) {
    const [first] = this.path;
    if (this.tool === "rectangle") {
      this.path = [first, [point[0], first[1]], point, [first[0], point[1]]];
    } else {
      const last = this.path[this.path.length - 1];
      if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= STEP_PX) this.path.push(point);
    }
    this.tip.hidden = true;
    this.draw();
  }

  enclose() {
    const every = Math.ceil(this.path.length / MOST_CORNERS);
    const points = this.path.filter((_, i) => i % every === 0).map(([x, y]) => this.unpixel(x, y));
    this.path = [];
    if (points.length > 2) {
      this.use(null);
      this.live.textContent = "The ECGs in the area were chosen";
      this.send("area", { points, identity: this.identity });
    }
    this.draw();
  }

  pixel(x, y) {
    return [
      this.width / 2 + (x - this.middle[0] - this.at[0]) * this.unit,
      this.height / 2 - (y - this.middle[1] - this.at[1]) * this.unit,
    ];
  }

  nearest(px, py) {
    let best = -1, least = REACH_PX ** 2;
    const hits = new Set(this.data.hits);
    for (let i = 0; i < this.rows.length; i += 1) {
      if (!this.passing[i] && !hits.has(this.rows[i])) continue;
      const [x, y] = this.pixel(this.xy[2 * i], this.xy[2 * i + 1]);
      const apart = (x - px) ** 2 + (y - py) ** 2;
      if (apart < least) [best, least] = [i, apart];
    }
    return best;
  }

  words(i) {
    const rank = this.data.hits.indexOf(this.rows[i]);
    const found = rank >= 0 ? `number ${rank + 1} of the list, ` : "";
    const label = this.data.colourWords ? `, ${this.data.colourWords}: ${this.data.legend[this.colour[i]].words}` : "";
    return `${found}uncertainty percentile ${this.percentile[i]}${label}`;
  }

  listen() {
    let drag = null;
    const position = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      drag = { from: position(event), at: [...this.at], moved: false };
      if (!this.tool) return;
      this.path = [drag.from];
      // An area that is drawn over the edge goes on outside.
      this.canvas.setPointerCapture(event.pointerId);
    });
    const ended = () => { if (this.path.length) this.enclose(); };
    this.canvas.addEventListener("pointerup", ended);
    this.canvas.addEventListener("pointercancel", () => { this.path = []; this.draw(); });
    this.canvas.addEventListener("pointermove", (event) => {
      const [px, py] = position(event);
      if (drag && event.buttons) {
        const [dx, dy] = [px - drag.from[0], py - drag.from[1]];
        if (Math.hypot(dx, dy) > 4) drag.moved = true;
        if (this.path.length) {
          this.extend([px, py]);
          return;
        }
        if (drag.moved && this.scale > 1) {
          this.at = [drag.at[0] - dx / this.unit, drag.at[1] + dy / this.unit];
          this.draw();
        }
        return;
      }
      this.hover(this.nearest(px, py), px, py);
    });
    this.canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    this.canvas.addEventListener("click", (event) => {
      if (drag?.moved) return;
      const i = this.nearest(...position(event));
      if (i >= 0) this.choose(i);
    });
    this.plane.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const shown = this.data.hits.filter((row) => this.place.has(row));
      if (step && shown.length) {
        event.preventDefault();
        this.cursor = (this.cursor + step + shown.length + (this.cursor < 0 && step < 0 ? 1 : 0)) % shown.length;
        const i = this.place.get(shown[this.cursor]);
        this.live.textContent = this.words(i);
        this.draw();
      } else if (event.key === "Enter" && this.cursor >= 0) {
        event.preventDefault();
        this.choose(this.place.get(shown[this.cursor]));
      }
    });
  }

  hover(i, px, py) {
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.tip.textContent = this.words(i);
    this.tip.style.left = `${Math.min(Math.max(px - 60, 2), Math.max(this.width - 190, 2))}px`;
    this.tip.style.top = `${py > 60 ? py - 52 : py + 16}px`;
  }

  choose(i) {
    this.live.textContent = `Chosen: ${this.words(i)}`;
    this.send("chosen", { row: this.rows[i], identity: this.identity });
  }

  draw() {
    if (!this.data || !this.plane.clientWidth) return;
    this.chooseLook();
    this.width = this.plane.clientWidth;
    this.height = Math.round(Math.min(this.width * 0.92, 460));
    this.side = Math.min(this.width, this.height);
    const sharp = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * sharp);
    this.canvas.height = Math.round(this.height * sharp);
    this.canvas.style.height = `${this.height}px`;
    const g = this.canvas.getContext("2d");
    g.setTransform(sharp, 0, 0, sharp, 0, 0);
    const size = this.rows.length > 3000 ? 1.7 : 2.6;
    // Those that the filter leaves out first, so that they cover nothing.
    for (const wanted of [0, 1]) {
      g.globalAlpha = wanted ? 0.75 : FAINT;
      for (let i = 0; i < this.rows.length; i += 1) {
        if (Boolean(this.passing[i]) !== Boolean(wanted)) continue;
        const [x, y] = this.pixel(this.xy[2 * i], this.xy[2 * i + 1]);
        g.fillStyle = this.shade(this.data.legend[this.colour[i]]);
        g.beginPath();
        g.arc(x, y, size, 0, 7);
        g.fill();
      }
    }
    g.globalAlpha = 1;
    this.drawArea(g, this.path.length ? this.path : this.data.area.map(([x, y]) => this.pixel(x, y)));
    this.drawHits(g);
    this.drawQuery(g);
    g.fillStyle = this.look.axis;
    g.font = "12px sans-serif";
    g.textAlign = "left";
    g.fillText(this.data.axes[0], 8, this.height - 8);
    g.save();
    g.translate(14, this.height - 26);
    g.rotate(-Math.PI / 2);
    g.fillText(this.data.axes[1], 0, 0);
    g.restore();
  }

  drawArea(g, corners) {
    if (corners.length < 2) return;
    g.beginPath();
    for (const [x, y] of corners) g.lineTo(x, y);
    g.closePath();
    g.globalAlpha = 0.08;
    g.fillStyle = this.look.ink;
    g.fill();
    g.globalAlpha = 1;
    g.strokeStyle = this.look.ink;
    g.lineWidth = 1.5;
    g.setLineDash([6, 4]);
    g.stroke();
    g.setLineDash([]);
  }

  drawHits(g) {
    g.textAlign = "center";
    g.textBaseline = "alphabetic";
    const shown = this.data.hits.filter((row) => this.place.has(row));
    const marked = [...shown].reverse();
    if (this.place.has(this.data.chosen)) marked.push(this.data.chosen);
    for (const row of marked) {
      const i = this.place.get(row);
      const [x, y] = this.pixel(this.xy[2 * i], this.xy[2 * i + 1]);
      const chosen = row === this.data.chosen;
      g.beginPath();
      g.arc(x, y, chosen ? 9 : 5.5, 0, 7);
      g.fillStyle = this.shade(this.data.legend[this.colour[i]]);
      g.globalAlpha = chosen ? 1 : 0.85;
      g.fill();
      g.globalAlpha = 1;
      g.strokeStyle = this.look.ink;
      g.lineWidth = chosen ? 3.5 : 1.6;
      g.stroke();
      const rank = shown.indexOf(row) + 1;
      if (rank && (rank <= 3 || chosen)) this.halo(g, String(rank), x, y - (chosen ? 13 : 9), true);
    }
    if (this.cursor >= 0 && shown[this.cursor] !== undefined) {
      const i = this.place.get(shown[this.cursor]);
      const [x, y] = this.pixel(this.xy[2 * i], this.xy[2 * i + 1]);
      g.setLineDash([3, 3]);
      g.beginPath();
      g.arc(x, y, 13, 0, 7);
      g.stroke();
      g.setLineDash([]);
    }
  }

  drawQuery(g) {
    if (!this.data.query) return;
    const [x, y] = this.pixel(...this.data.query);
    g.beginPath();
    g.moveTo(x, y - 9);
    g.lineTo(x + 9, y);
    g.lineTo(x, y + 9);
    g.lineTo(x - 9, y);
    g.closePath();
    g.fillStyle = this.look.ground;
    g.fill();
    g.strokeStyle = this.look.ink;
    g.lineWidth = 3;
    g.stroke();
    const right = x > this.width - 90;
    g.textAlign = right ? "right" : "left";
    this.halo(g, "searched from", x + (right ? -14 : 14), y + 4, true);
  }

  halo(g, text, x, y, bold) {
    g.font = `${bold ? "600 " : ""}12px sans-serif`;
    g.strokeStyle = this.look.ground;
    g.lineWidth = 4;
    g.strokeText(text, x, y);
    g.fillStyle = this.look.ink;
    g.fillText(text, x, y);
  }

  // Light words stand on a dark page. The theme is the page's, which may not be the machine's.
  chooseLook() {
    const [red, green, blue] = (getComputedStyle(this.box).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
    this.dark = red + green + blue > 384;
    this.look = this.dark ? DARK : LIGHT;
  }

  shade(entry) {
    return this.dark ? entry.dark : entry.colour;
  }

  showLegend() {
    this.chooseLook();
    const items = [];
    if (this.data.ramp) {
      const item = element("li"), ramp = element("i", { class: "ramp" });
      ramp.style.background = `linear-gradient(90deg, ${this.data.legend.map((l) => this.shade(l)).join(",")})`;
      item.append(ramp, "surer to less sure");
      items.push(item);
    } else {
      for (const entry of this.data.legend) {
        const { words, count } = entry;
        if (!count) continue;
        const item = element("li"), dot = element("i");
        dot.style.background = this.shade(entry);
        item.append(dot, `${words} (${count.toLocaleString("en")})`);
        items.push(item);
      }
    }
    this.legend.replaceChildren(...items);
  }
}

const maps = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  let map = maps.get(root);
  if (!map || !root.contains(map.box)) {
    map = new GalleryMap(root);
    maps.set(root, map);
  }
  map.take(component);
}
