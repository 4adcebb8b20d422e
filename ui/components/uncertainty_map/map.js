// The uncertainty map: the whole recording above, a detail of it below.
//
// Everything is drawn by time, so that a zoom shows at once what is known already, and the finer
// numbers when the server has sent them. What was chosen goes back as one value, "act": the start
// of the chosen window, the view and the span, and a running number that the server repeats, so
// that a late answer never undoes a later key press.

const MARKS = {
  "noise": ["N", "noise", "#d55e00"],
  "baseline or motion": ["M", "drift, motion or ectopic beats", "#0072b2"],
  "lead off": ["E", "electrode off", "#b4438c"],
  "saturated": ["S", "beyond 5 mV", "#a06a00"],
  "gap": ["G", "gap in a lead", "#6b7280"],
  "not recorded": ["X", "nothing recorded", "#4b5563"],
  "missing leads": ["L", "leads not recorded", "#6b7280"],
  "misplaced electrodes": ["P", "electrodes misplaced?", "#5b4bb7"],
  "unlike training": ["U", "unlike training", "#007a5a"],
  "none": ["?", "no plain cause", "#6b7280"],
  "": ["·", "cause not looked for", "#6b7280"],
};
// Ground, ink, what is hidden, where nothing was recorded, lines of the grid, and the halo of lines.
const LIGHT = { paper: "#ffffff", ink: "#1b2430", hidden: "#c3c8d0", nothing: "#e3e6eb", grid: "#e3e6eb", halo: "#ffffff", hatch: "#98a0ab", window: "rgba(27, 36, 48, 0.09)" };
const DARK = { paper: "#1d2129", ink: "#f2f4f8", hidden: "#4a515e", nothing: "#2a2f39", grid: "#323845", halo: "#14171d", hatch: "#6b7685", window: "rgba(255, 255, 255, 0.10)" };
const VIEWS = [["Whole", null], ["1 h", 3600], ["10 min", 600], ["2 min", 120], ["30 s", 30]];
const LEFT = 48, RIGHT = 12;
const TRACE = 168, STRIP = 58, LANE = 16, LEAD = 13, AXIS = 24, GAP = 8;

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const shorts = (text) => new Int16Array(bytes(text).buffer);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function clock(seconds, tenths = false) {
  let whole = Math.round(seconds * 10);
  const rest = whole % 10;
  whole = Math.floor(whole / 10);
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  return (h ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`) + (tenths ? `.${rest}` : "");
}

class UncertaintyMap {
  constructor(root) {
    this.root = root;
    this.sent = -1;
    this.build();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.box);
    // The page takes its new theme some moments after the machine has changed to it.
    matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", () => setTimeout(() => this.draw(), 400));
  }

  build() {
    const make = (tag, name, parent) => {
      const e = document.createElement(tag);
      e.className = name;
      parent.append(e);
      return e;
    };
    this.box = make("div", "map", this.root);
    const bar = make("div", "bar", this.box);
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", "How much to show");
    this.buttons = VIEWS.map(([words, length]) => {
      const b = make("button", "view", bar);
      b.type = "button";
      b.textContent = words;
      b.onclick = () => this.show(length);
      return [b, length];
    });
    for (const [words, label, by] of [["−", "Zoom out", 2], ["+", "Zoom in", 0.5]]) {
      const b = make("button", "zoom", bar);
      b.type = "button";
      b.textContent = words;
      b.setAttribute("aria-label", label);
      b.onclick = () => this.zoom(by);
    }
    this.shown = make("span", "shown", bar);
    this.whole = make("canvas", "whole", this.box);
    this.whole.setAttribute("aria-hidden", "true");
    this.detail = make("div", "detail", this.box);
    this.detail.tabIndex = 0;
    this.detail.setAttribute("role", "slider");
    this.detail.setAttribute("aria-label", "Chosen window of the uncertainty map");
    this.canvas = make("canvas", "picture", this.detail);
    this.canvas.setAttribute("role", "img");
    this.tip = make("div", "tip", this.detail);
    this.tip.setAttribute("aria-hidden", "true");
    this.tip.hidden = true;
    this.legend = make("ul", "legend", this.box);
    this.legend.setAttribute("aria-label", "Causes along the recording");
    this.hint = make("details", "hint", this.box);
    make("summary", "", this.hint).textContent = "Mouse and keys";
    make("p", "", this.hint).textContent =
      "Click on the picture: choose a window. Drag on it: choose a span. Click or drag on the "
      + "narrow picture above it: choose what to show. Keys, while the picture is in focus: arrows "
      + "for the next window; Page up and down; Home and End; N and P for the next and the previous "
      + "uncertain stretch; + and − to zoom; Shift and arrows for a span, Escape to drop it.";
    this.detail.addEventListener("keydown", (e) => this.key(e));
    this.pointers();
  }

  take(component) {
    const d = component.data;
    this.send = component.setTriggerValue;
    if (this.sent < 0 || d.round !== this.round) this.sent = d.ack;
    const late = d.ack < this.sent && d.round === this.round;
    this.round = d.round;
    this.data = {
      ...d,
      overview: bytes(d.overview),
      edges: floats(d.edges),
      percentile: bytes(d.percentile),
      leads: d.leads === null ? null : bytes(d.leads),
      traceTime: floats(d.traceTime),
      trace: shorts(d.trace),
    };
    if (this.runs !== JSON.stringify(d.runs)) {
      this.runs = JSON.stringify(d.runs);
      this.starts = Float64Array.from(d.runs.flatMap(
        ([first, step, n]) => Array.from({ length: n }, (_, i) => first + i * step)));
    }
    if (!late) {
      this.selected = d.selected;
      this.view = [d.begin, d.end];
      this.span = d.span;
    }
    this.showLegend();
    this.draw();
  }

  // ---- what is chosen -------------------------------------------------------------------------

  commit(wait = 0) {
    clearTimeout(this.timer);
    this.draw();
    this.sent += 1;
    const n = this.sent;
    const whole = this.view[0] <= 0 && this.view[1] >= this.data.duration - 1e-6;
    this.timer = setTimeout(() => this.send("act", {
      start: this.selected, view: whole ? null : this.view, span: this.span, n,
    }), wait);
  }

  nearest(seconds) {
    const s = this.starts;
    let low = 0, high = s.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (s[middle] < seconds) low = middle + 1; else high = middle;
    }
    return low > 0 && seconds - s[low - 1] <= s[low] - seconds ? low - 1 : low;
  }

  choose(index, wait) {
    this.selected = this.starts[clamp(index, 0, this.starts.length - 1)];
    this.keepInView();
    this.commit(wait);
  }

  keepInView() {
    const [a, b] = this.view, w = this.data.window;
    if (this.selected < a || this.selected + w > b) this.centre(this.selected + w / 2, b - a);
  }

  centre(middle, length) {
    const whole = this.data.duration;
    const n = clamp(length, Math.min(this.data.window, whole), whole);
    const a = clamp(middle - n / 2, 0, whole - n);
    this.view = [a, a + n];
  }

  show(length) {
    this.centre(this.selected + this.data.window / 2, length ?? this.data.duration);
    this.commit();
  }

  zoom(by) {
    this.centre(this.selected + this.data.window / 2, by * (this.view[1] - this.view[0]));
    this.commit();
  }

  jump(direction) {
    const list = this.data.unsureStart;
    const next = direction > 0
      ? list.find((s) => s > this.selected + 1e-3)
      : list.findLast((s) => s < this.selected - 1e-3);
    if (next !== undefined) this.choose(this.nearest(next), 150);
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const here = this.nearest(this.selected), length = this.view[1] - this.view[0];
    const w = this.data.window;
    const page = Math.max(length >= this.data.duration ? length / 10 : length, w);
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
    if (e.key in moves) {
      const to = clamp(here + moves[e.key], 0, this.starts.length - 1);
      if (e.shiftKey) {
        this.anchor ??= this.selected + (moves[e.key] < 0 ? w : 0);
        const edge = this.starts[to] + (this.starts[to] >= this.anchor ? w : 0);
        this.span = [Math.min(this.anchor, edge), Math.max(this.anchor, edge)];
      } else this.anchor = undefined;
      this.choose(to, 150);
    } else if (e.key === "PageUp" || e.key === "PageDown") {
      const to = this.selected + (e.key === "PageUp" ? -page : page);
      this.choose(this.nearest(to), 150);
    } else if (e.key === "Home") this.choose(0, 150);
    else if (e.key === "End") this.choose(this.starts.length - 1, 150);
    else if (e.key === "n" || e.key === "N") this.jump(1);
    else if (e.key === "p" || e.key === "P") this.jump(-1);
    else if (e.key === "+" || e.key === "=") this.zoom(0.5);
    else if (e.key === "-") this.zoom(2);
    else if (e.key === "Escape" && this.span) {
      this.span = null;
      this.anchor = undefined;
      this.commit();
    } else return;
    e.preventDefault();
    e.stopPropagation();
  }

  pointers() {
    const drag = (canvas, at, begin, move, end) => {
      let from = null, moved = false;
      canvas.addEventListener("pointerdown", (e) => {
        if (e.button !== 0) return;
        from = { t: at(e), x: e.clientX, y: e.clientY, view: this.view };
        moved = false;
        if (e.pointerType === "mouse") canvas.setPointerCapture(e.pointerId);
        begin(from);
      });
      canvas.addEventListener("pointermove", (e) => {
        if (from === null) return;
        if (Math.hypot(e.clientX - from.x, e.clientY - from.y) > 4) moved = true;
        if (moved) move(from, at(e));
      });
      canvas.addEventListener("pointerup", (e) => {
        if (from === null) return;
        end(from, at(e), moved);
        from = null;
      });
      canvas.addEventListener("pointercancel", () => { from = null; });
    };
    const order = (a, b) => [Math.min(a, b), Math.max(a, b)];
    drag(this.canvas, (e) => this.timeAt(e),
      () => this.detail.focus({ preventScroll: true }),
      (from, t) => { this.span = order(from.t, t); this.draw(); },
      (from, t, moved) => {
        if (moved) {
          this.span = order(from.t, t);
          if (this.span[1] - this.span[0] < 0.5) this.span = null;
          this.commit();
        } else this.choose(this.nearest(t - this.data.window / 2));
      });
    const inside = (from) => from.view[1] - from.view[0] < 0.98 * this.data.duration
      && from.t >= from.view[0] && from.t <= from.view[1];
    drag(this.whole, (e) => this.wholeTimeAt(e), () => {},
      (from, t) => {
        if (inside(from)) {
          const n = from.view[1] - from.view[0];
          this.centre((from.view[0] + from.view[1]) / 2 + t - from.t, n);
        } else {
          const [a, b] = order(from.t, t);
          this.centre((a + b) / 2, b - a);
        }
        this.draw();
      },
      (from, t, moved) => {
        if (!moved) {
          const whole = from.view[1] - from.view[0] >= 0.98 * this.data.duration;
          const length = whole && this.data.rows > 1 ? 600 : from.view[1] - from.view[0];
          this.centre(t, length);
          this.selected = this.starts[this.nearest(t - this.data.window / 2)];
        } else {
          const [a, b] = this.view, w = this.data.window;
          if (this.selected < a || this.selected + w > b)
            this.selected = this.starts[this.nearest((a + b - w) / 2)];
        }
        this.commit();
      });
    this.canvas.addEventListener("mousemove", (e) => this.hover(e));
    this.canvas.addEventListener("mouseleave", () => { this.tip.hidden = true; });
  }

  hover(e) {
    const d = this.data, t = this.timeAt(e);
    const index = this.nearest(t - d.window / 2), start = this.starts[index];
    const column = this.columnAt(clamp(t, this.view[0], this.view[1] - 1e-3));
    const lines = [`${clock(start)} to ${clock(start + d.window)}`];
    if (column >= 0) {
      const p = d.percentile[column];
      lines.push(p === 255 ? "nothing recorded" : `percentile ${Math.round(p / 2.5)}`);
      if (d.leads !== null && p !== 255) {
        const n = d.percentile.length;
        const ranked = d.leadNames.map((name, i) => [d.leads[i * n + column], name])
          .filter(([v]) => v !== 255 && v >= 187).sort((a, b) => b[0] - a[0]).slice(0, 3);
        if (ranked.length) lines.push(`highest in ${ranked.map(([, name]) => name).join(", ")}`);
      }
    }
    const mark = d.marks.find(([a, b]) => t >= a && t <= b);
    if (mark) lines.push((MARKS[mark[2]] ?? MARKS[""])[1]);
    this.tip.textContent = lines.join(" · ");
    this.tip.hidden = false;
    const box = this.detail.getBoundingClientRect(), wide = this.tip.offsetWidth;
    this.tip.style.left = `${clamp(e.clientX - box.left + 12, 0, Math.max(box.width - wide, 0))}px`;
    this.tip.style.top = `${e.clientY - box.top + 16}px`;
  }

  // ---- geometry ---------------------------------------------------------------------------------

  timeAt(e) {
    const box = this.canvas.getBoundingClientRect();
    const share = (e.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return this.view[0] + clamp(share, 0, 1) * (this.view[1] - this.view[0]);
  }

  wholeTimeAt(e) {
    const box = this.whole.getBoundingClientRect(), d = this.data;
    const share = clamp((e.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT), 0, 1);
    const row = clamp(Math.floor((e.clientY - box.top) / this.rowHeight()), 0, d.rows - 1);
    return clamp((row + share) * d.rowSeconds, 0, d.duration);
  }

  rowHeight() { return this.data.rows === 1 ? 30 : 10; }

  columnAt(t) {
    const d = this.data, x = t - d.begin;
    if (x < 0 || x > d.end - d.begin) return -1;
    let low = 0, high = d.percentile.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (d.edges[middle + 1] <= x) low = middle + 1; else high = middle;
    }
    return low;
  }

  colour(byte) {
    const d = this.data;
    if (byte === 255) return this.look.nothing;
    if (byte / 2.5 > d.hideAbove + 1e-9) return this.look.hidden;
    return this.scale[Math.min(Math.floor(byte / 25), this.scale.length - 1)];
  }

  // ---- drawing ----------------------------------------------------------------------------------

  prepare(canvas, height) {
    const width = Math.max(this.box.clientWidth, 200), ratio = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const g = canvas.getContext("2d");
    g.scale(ratio, ratio);
    g.clearRect(0, 0, width, height);
    return [g, width];
  }

  draw() {
    if (!this.data || !this.box.clientWidth) return;
    const style = getComputedStyle(this.box);
    this.text = style.color || LIGHT.ink;
    // Light words stand on a dark page. The theme is the page's, which may not be the machine's.
    const [red, green, blue] = (this.text.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
    this.dark = red + green + blue > 384;
    this.look = this.dark ? DARK : LIGHT;
    this.scale = this.dark ? this.data.scaleDark : this.data.scale;
    this.accent = style.getPropertyValue("--st-primary-color").trim() || "#7e03a8";
    this.font = `12px ${style.fontFamily}`;
    this.drawWhole();
    this.drawDetail();
    const [a, b] = this.view, d = this.data, whole = b - a >= d.duration - 1e-6;
    for (const [button, length] of this.buttons) {
      button.hidden = length !== null && length > 0.7 * d.duration;
      const on = length === null ? whole : !whole && Math.abs(b - a - length) < 0.5;
      button.setAttribute("aria-pressed", String(on));
    }
    this.shown.textContent = `${clock(a)} to ${clock(b)}`;
    const one = this.starts.length < 2;
    this.box.querySelector(".bar").hidden = d.duration < 45;
    const index = this.nearest(this.selected);
    this.detail.setAttribute("aria-valuemin", "0");
    this.detail.setAttribute("aria-valuemax", String(Math.round(this.starts.at(-1))));
    this.detail.setAttribute("aria-valuenow", String(Math.round(this.starts[index])));
    this.detail.setAttribute("aria-disabled", String(one));
    const p = Math.abs(this.selected - d.selected) < 0.01 ? d.selectedPercentile : this.near(index);
    this.detail.setAttribute("aria-valuetext",
      `${clock(this.selected)} to ${clock(this.selected + d.window)}, `
      + (p === null ? "nothing recorded" : `percentile ${Math.round(p)}`));
    this.detail.dataset.start = String(this.selected);
    this.detail.dataset.windows = String(this.starts.length);
    this.detail.dataset.view = `${a.toFixed(2)},${b.toFixed(2)}`;
    this.detail.dataset.span = this.span ? this.span.map((s) => s.toFixed(2)).join(",") : "";
    this.canvas.setAttribute("aria-label", d.words);
    this.hint.hidden = one;
  }

  near(index) {
    const c = this.columnAt(this.starts[index] + this.data.window / 2);
    const byte = c < 0 ? 255 : this.data.percentile[c];
    return byte === 255 ? null : byte / 2.5;
  }

  drawWhole() {
    const d = this.data;
    this.whole.hidden = d.duration < 45;
    if (this.whole.hidden) return;
    const high = this.rowHeight(), one = d.rows === 1;
    const [g, width] = this.prepare(this.whole, d.rows * high + (one ? 8 : 4));
    const wide = width - LEFT - RIGHT, n = d.overview.length / d.rows;
    g.font = one ? this.font : this.font.replace("12px", "10px");
    g.textBaseline = "middle";
    g.textAlign = "right";
    for (let row = 0; row < d.rows; row++) {
      const top = row * high;
      g.fillStyle = this.text;
      if (one) g.fillText("whole", LEFT - 6, top + high / 2);
      else if (row % 2 === 0) g.fillText(`${row} h`, LEFT - 6, top + high / 2);
      for (let i = 0; i < n; i++) {
        const x = LEFT + (i / n) * wide;
        if ((row + i / n) * d.rowSeconds >= d.duration) break;
        g.fillStyle = this.colour(d.overview[row * n + i]);
        g.fillRect(x, top, wide / n + 0.6, high - (one ? 0 : 1));
      }
    }
    const bars = (a, b, paint) => {
      for (let row = Math.floor(a / d.rowSeconds); row < d.rows; row++) {
        const from = Math.max(a - row * d.rowSeconds, 0), to = Math.min(b - row * d.rowSeconds, d.rowSeconds);
        if (to <= 0) break;
        if (to > from) paint(LEFT + (from / d.rowSeconds) * wide, row * high, ((to - from) / d.rowSeconds) * wide);
      }
    };
    const [a, b] = this.view;
    if (b - a < 0.995 * d.duration) {
      bars(a, b, (x, y, w) => {
        g.lineWidth = 4;
        g.strokeStyle = this.look.paper;
        g.strokeRect(x, y + 1, Math.max(w, 2), high - 3);
        g.lineWidth = 2;
        g.strokeStyle = this.look.ink;
        g.strokeRect(x, y + 1, Math.max(w, 2), high - 3);
      });
    }
    const middle = this.selected + d.window / 2, row = Math.floor(middle / d.rowSeconds);
    const x = LEFT + ((middle - row * d.rowSeconds) / d.rowSeconds) * wide, y = row * high;
    g.fillStyle = this.look.paper;
    g.fillRect(x - 2.5, y - 1, 5, high + 1);
    g.fillStyle = this.look.ink;
    g.fillRect(x - 1, y - 1, 2, high + 1);
  }

  drawDetail() {
    const d = this.data, leads = d.leads !== null;
    const tops = { trace: 4, strip: 4 + TRACE + GAP };
    tops.lane = tops.strip + STRIP + 3;
    tops.leads = tops.lane + LANE + 5;
    tops.axis = leads ? tops.leads + 12 * LEAD + 3 : tops.lane + LANE + 3;
    const [g, width] = this.prepare(this.canvas, tops.axis + AXIS);
    const wide = width - LEFT - RIGHT, [a, b] = this.view;
    const x = (t) => LEFT + ((t - a) / (b - a)) * wide;
    g.font = this.font;
    g.fillStyle = this.look.paper;
    g.fillRect(LEFT, tops.trace, wide, TRACE);
    g.fillStyle = this.look.nothing;
    g.fillRect(LEFT, tops.strip, wide, STRIP);
    if (leads) g.fillRect(LEFT, tops.leads, wide, 12 * LEAD);
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, wide, tops.axis);
    g.clip();
    this.drawSelection(g, x, tops, "under");
    this.drawTrace(g, x, tops.trace);
    this.drawStrip(g, x, tops.strip);
    this.drawLane(g, x, tops.lane);
    if (leads) this.drawLeads(g, x, tops.leads);
    this.drawSelection(g, x, tops, "over");
    g.restore();
    this.drawAxes(g, x, tops, width);
  }

  millivolts() {
    const [low, high] = this.data.range;
    const step = [0.1, 0.2, 0.5, 1, 2, 5].find((s) => (high - low) / s <= 6) ?? 10;
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step < high; i++) ticks.push(Number((i * step).toFixed(2)));
    return ticks;
  }

  drawTrace(g, x, top) {
    const d = this.data, [low, high] = d.range, n = d.trace.length;
    const y = (mv) => top + TRACE - ((clamp(mv, low, high) - low) / (high - low)) * TRACE;
    g.lineWidth = 1.2;
    g.strokeStyle = this.look.grid;
    for (const mv of this.millivolts()) {
      g.beginPath();
      g.moveTo(x(this.view[0]), y(mv));
      g.lineTo(x(this.view[1]), y(mv));
      g.stroke();
    }
    let column = 0, colour = null, pen = false;
    g.lineJoin = "round";
    g.beginPath();
    for (let i = 0; i < n; i++) {
      const t = d.traceTime[i];
      while (column < d.percentile.length - 1 && d.edges[column + 1] <= t) column++;
      const now = this.colour(d.percentile[column]);
      const known = d.trace[i] !== -32768;
      const px = x(d.begin + t), py = y(d.trace[i] / 1000);
      if (now !== colour || !known) {
        if (pen && known) g.lineTo(px, py);
        g.strokeStyle = colour ?? now;
        g.stroke();
        g.beginPath();
        colour = now;
        pen = false;
      }
      if (!known) continue;
      if (pen) g.lineTo(px, py); else g.moveTo(px, py);
      pen = true;
    }
    g.strokeStyle = colour ?? this.look.ink;
    g.stroke();
  }

  drawStrip(g, x, top) {
    const d = this.data, n = d.percentile.length;
    if (this.view[0] < d.begin - 1e-3 || this.view[1] > d.end + 1e-3) {
      // Until the server has sent this view: what the overview knows of it.
      const each = (d.rows * d.rowSeconds) / d.overview.length;
      const last = Math.min(Math.ceil(this.view[1] / each), d.overview.length);
      for (let i = Math.max(Math.floor(this.view[0] / each), 0); i < last; i++) {
        if (i * each >= d.duration) break;
        g.fillStyle = this.colour(d.overview[i]);
        g.fillRect(x(i * each), top, x((i + 1) * each) - x(i * each) + 0.4, STRIP);
      }
    }
    for (let i = 0; i < n; i++) {
      const from = x(d.begin + d.edges[i]), to = x(d.begin + d.edges[i + 1]);
      g.fillStyle = this.colour(d.percentile[i]);
      g.fillRect(from, top, Math.max(to - from, 0.5) + 0.4, STRIP);
      if (g.fillStyle === this.look.hidden) this.hatch(g, from, top, to - from, STRIP);
    }
    for (const [colour, width] of [[this.look.halo, 3.6], [this.look.ink, 1.5]]) {
      g.beginPath();
      let pen = false;
      for (let i = 0; i < n; i++) {
        if (d.percentile[i] === 255) { pen = false; continue; }
        const px = x(d.begin + (d.edges[i] + d.edges[i + 1]) / 2);
        const py = top + STRIP - 2 - (d.percentile[i] / 250) * (STRIP - 4);
        if (n === 1) { g.moveTo(x(d.begin), py); g.lineTo(x(d.end), py); }
        else if (pen) g.lineTo(px, py); else g.moveTo(px, py);
        pen = true;
      }
      g.strokeStyle = colour;
      g.lineWidth = width;
      g.stroke();
    }
  }

  hatch(g, left, top, width, height) {
    g.save();
    g.beginPath();
    g.rect(left, top, width, height);
    g.clip();
    g.strokeStyle = this.look.hatch;
    g.lineWidth = 1;
    const first = Math.floor((left - height) / 7) * 7;
    g.beginPath();
    for (let px = first; px < left + width; px += 7) {
      g.moveTo(px, top + height);
      g.lineTo(px + height, top);
    }
    g.stroke();
    g.restore();
  }

  drawLane(g, x, top) {
    const [a, b] = this.view;
    g.textBaseline = "middle";
    g.textAlign = "center";
    let last = -Infinity;
    for (const [from, to, kind] of this.data.marks) {
      if (to < a || from > b) continue;
      const [letter, , colour] = MARKS[kind] ?? MARKS[""];
      const left = Math.max(x(from), LEFT), width = Math.max(Math.min(x(to), x(b)) - left, 2);
      g.fillStyle = colour;
      g.fillRect(left, top + (width < 11 ? 3 : 0), width, LANE - (width < 11 ? 6 : 0));
      if (width >= 11 && left - last > 9) {
        g.fillStyle = "#ffffff";
        g.fillText(letter, left + width / 2, top + LANE / 2 + 0.5);
        last = left;
      }
    }
  }

  drawLeads(g, x, top) {
    const d = this.data, n = d.percentile.length;
    for (let lead = 0; lead < 12; lead++) {
      for (let i = 0; i < n; i++) {
        const byte = d.leads[lead * n + i];
        if (byte === 255) continue;
        const from = x(d.begin + d.edges[i]), to = x(d.begin + d.edges[i + 1]);
        g.fillStyle = d.percentile[i] / 2.5 > d.hideAbove ? this.look.hidden
          : this.scale[Math.min(Math.floor(byte / 25), this.scale.length - 1)];
        g.fillRect(from, top + lead * LEAD, Math.max(to - from, 0.5) + 0.4, LEAD - 1);
      }
      if (d.missing[lead]) this.hatch(g, LEFT, top + lead * LEAD, x(this.view[1]) - LEFT, LEAD - 1);
    }
  }

  drawSelection(g, x, tops, where) {
    const w = this.data.window, left = x(this.selected);
    const width = Math.max(x(this.selected + w) - left, 2);
    if (where === "under") {
      if (this.span) {
        g.fillStyle = "rgba(0, 114, 178, 0.16)";
        g.fillRect(x(this.span[0]), tops.trace, x(this.span[1]) - x(this.span[0]), TRACE);
      }
      g.fillStyle = this.look.window;
      g.fillRect(left, tops.trace, width, TRACE);
      return;
    }
    const bottom = tops.axis - 2;
    if (this.span) {
      const from = x(this.span[0]), to = x(this.span[1]);
      for (const [colour, line, dash] of [[this.look.halo, 4, []], ["#0072b2", 2, [6, 3]]]) {
        g.strokeStyle = colour;
        g.lineWidth = line;
        g.setLineDash(dash);
        g.strokeRect(from, tops.trace, to - from, bottom - tops.trace);
      }
      g.setLineDash([]);
    }
    if (this.starts.length < 2) return;
    if (width < 6) {
      // A box narrower than its own border is drawn as a line.
      for (const [colour, line] of [[this.look.halo, 5], [this.look.ink, 2]]) {
        g.fillStyle = colour;
        g.fillRect(left + width / 2 - line / 2, tops.trace, line, bottom - tops.trace);
      }
      return;
    }
    for (const [colour, line] of [[this.look.halo, 4], [this.look.ink, 1.8]]) {
      g.strokeStyle = colour;
      g.lineWidth = line;
      g.strokeRect(left, tops.trace, width, bottom - tops.trace);
    }
  }

  drawAxes(g, x, tops, width) {
    const d = this.data, [low, high] = d.range, [a, b] = this.view;
    g.fillStyle = this.text;
    g.textAlign = "right";
    g.textBaseline = "middle";
    for (const mv of this.millivolts())
      g.fillText(String(mv).replace("-", "−"), LEFT - 6,
        tops.trace + TRACE - ((mv - low) / (high - low)) * TRACE);
    g.save();
    g.translate(11, tops.trace + TRACE / 2);
    g.rotate(-Math.PI / 2);
    g.textAlign = "center";
    g.fillText(`${d.lead} (mV)`, 0, 0);
    g.restore();
    for (const p of [0, 50, 100])
      g.fillText(String(p), LEFT - 6, tops.strip + STRIP - 6 - (p / 100) * (STRIP - 12));
    if (d.marks.length) g.fillText("cause", LEFT - 6, tops.lane + LANE / 2);
    if (d.leads !== null) {
      g.font = this.font.replace("12px", "11px");
      d.leadNames.forEach((name, i) => g.fillText(name, LEFT - 6, tops.leads + i * LEAD + LEAD / 2));
      g.font = this.font;
    }
    const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
    const most = Math.max((width - LEFT - RIGHT) / 90, 2);
    const step = steps.find((s) => (b - a) / s <= most) ?? 86400;
    g.strokeStyle = this.text;
    g.lineWidth = 1;
    g.textBaseline = "top";
    for (let t = Math.ceil(a / step - 1e-9) * step; t <= b + 1e-6; t += step) {
      const px = x(t);
      g.beginPath();
      g.moveTo(px, tops.axis);
      g.lineTo(px, tops.axis + 4);
      g.stroke();
      g.textAlign = px < LEFT + 18 ? "left" : px > width - RIGHT - 18 ? "right" : "center";
      g.fillText(clock(t, step < 1), px, tops.axis + 7);
    }
  }

  showLegend() {
    const count = new Map();
    for (const [, , kind] of this.data.marks) count.set(kind, (count.get(kind) ?? 0) + 1);
    const items = Object.keys(MARKS).filter((kind) => count.has(kind)).map((kind) => {
      const [letter, words, colour] = MARKS[kind];
      const item = document.createElement("li"), box = document.createElement("b");
      box.textContent = letter;
      box.style.background = colour;
      item.append(box, ` ${words} (${count.get(kind)})`);
      return item;
    });
    this.legend.replaceChildren(...items);
    this.legend.hidden = !items.length;
  }
}

const maps = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  let map = maps.get(root);
  if (!map || !root.contains(map.box)) {
    map = new UncertaintyMap(root);
    maps.set(root, map);
  }
  map.take(component);
}
