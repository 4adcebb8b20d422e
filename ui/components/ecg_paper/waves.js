// Where P, QRS and T begin and end, as measured on the median beat: bands behind every beat that it
// is made of, and on one beat handles by which a person moves an onset or an end.

const WAVES = [
  { name: "P", from: "p_onset", to: "p_offset" },
  { name: "QRS", from: "qrs_onset", to: "qrs_offset" },
  { name: "T", from: "t_onset", to: "t_offset" },
];
const MARKS = {
  p_onset: "P onset", p_offset: "P end", qrs_onset: "QRS onset", qrs_offset: "QRS end", t_offset: "T end",
};
const INTERVALS = [["PR", "p_onset", "qrs_onset"], ["QRS", "qrs_onset", "qrs_offset"], ["QT", "qrs_onset", "t_offset"]];
const MARK_STEP_MS = 2;
const LARGE_MARK_STEP_MS = 10;
// P may run into the QRS; every wave has a length.
const LEAST_WAVE_MS = 10;
// Where a wave that was not found is put until somebody moves it, from the QRS.
const USUAL_MS = { P: { p_onset: -160, p_offset: -60 }, T: { t_offset: 290 } };
const REACH_MS = [-480, 718];
const TELL_AFTER_MS = 400;

class Waves {
  constructor(bands, layer, line, host) {
    this.bands = bands;
    this.layer = layer;
    this.line = line;
    this.host = host; // {page(), point(event), middle(), send(what), say(words), focusBack()}
    this.told = null;
    this.number = 0;
    this.pending = null;
    this.dragging = false;
    this.beat = null;
    this.handles = {};
    this.words = html("span", { class: "words" });
    this.undo = html("button", { type: "button" }, "Undo");
    this.undo.addEventListener("click", () => this.tell({ undo: true }));
    this.reset = html("button", { type: "button" }, "As measured");
    this.reset.addEventListener("click", () => this.tell({ reset: true }));
    this.placing = ["P", "T"].map((wave) => {
      const button = html("button", { type: "button", "data-place": wave }, `Place ${wave}`);
      button.addEventListener("click", () => this.placeWave(wave));
      return button;
    });
    this.line.append(this.words, ...this.placing, this.undo, this.reset);
  }

  // What Python says: nothing, why there is nothing, or marks in ms from the fiducials of beats.
  take(told) {
    // An answer to an earlier move would take back the later one.
    if (told && told.ack < this.number) return;
    this.told = told;
    // What was moved since is still to be told.
    this.marks = told && told.marks ? { ...told.marks, ...this.pending } : null;
    if (told) this.number = told.ack;
  }

  get shown() {
    return Boolean(this.marks && this.told.beats.length);
  }

  draw(wanted) {
    if (this.dragging) return;
    this.line.hidden = !wanted;
    const held = Object.keys(this.handles).find((name) => this.handles[name] === this.focused());
    this.bands.replaceChildren();
    this.layer.replaceChildren();
    this.handles = {};
    if (!wanted) return;
    if (!this.shown) {
      const none = this.marks ? "No measured beat lies in these ten seconds." : "Measuring the beats…";
      this.words.textContent = (this.told && this.told.why) || none;
      for (const button of [...this.placing, this.undo, this.reset]) button.hidden = true;
      return;
    }
    this.choose();
    for (const t of this.told.beats) this.drawBands(t);
    if (this.panel) this.build();
    this.place();
    const focus = this.handles[held] || this.handles[this.placed];
    if (focus) focus.focus({ preventScroll: true });
    if (this.handles[this.placed]) this.placed = null;
  }

  focused() {
    const root = this.layer.getRootNode();
    return root.activeElement;
  }

  // The beat with handles: the one chosen before, or the nearest to the middle of what is seen that a panel
  // shows whole.
  choose() {
    const whole = (t) => this.host.page().panels.filter((p) => p.origin !== "missing" && this.there()
      .every((name) => this.at(t, name) >= p.t0 && this.at(t, name) <= p.t1));
    const fitting = this.told.beats.filter((t) => whole(t).length);
    const middle = this.host.middle();
    const near = (t) => Math.abs(t - (fitting.includes(this.beat) ? this.beat : middle));
    this.beat = fitting.length ? fitting.reduce((best, t) => (near(t) < near(best) ? t : best)) : null;
    this.fitting = fitting;
    const panels = this.beat === null ? [] : whole(this.beat);
    this.panel = panels.find((p) => p.rhythm) || panels[0] || null;
  }

  there() {
    return Object.keys(MARKS).filter((name) => this.marks[name] !== null);
  }

  at(t, name) {
    return t + this.marks[name] / 1000;
  }

  drawBands(t) {
    const page = this.host.page();
    const top = Math.min(...page.panels.map((p) => p.top));
    for (const { name, from, to } of WAVES) {
      if (this.marks[from] === null || this.marks[to] === null) continue;
      const [begin, end] = [from, to].map((mark) => clamp(this.at(t, mark), 0, page.seconds));
      if (end <= begin) continue;
      this.bands.append(svg("rect", {
        class: `band wave-${name}`, "data-beat": t, x: mm(page.x(begin)), width: mm((end - begin) * page.speed),
        y: mm(top), height: mm(page.bottom - top),
      }));
    }
  }

  build() {
    this.there().forEach((name) => {
      const wave = WAVES.find(({ from, to }) => from === name || to === name);
      const handle = svg("g", {
        class: `mark wave-${wave.name}${this.told.hand.includes(name) ? " by-hand" : ""}`, "data-mark": name,
        tabindex: "0", role: "slider", "aria-orientation": "horizontal", "aria-label": MARKS[name],
      });
      // Onsets stand above ends, so that the end of P and the onset of QRS do not cover each other.
      const y = this.panel.bottom - (name.endsWith("onset") ? 7 : 2.5);
      handle.append(
        svg("path", { class: "edge", d: `M0 ${mm(this.panel.top)}V${mm(this.panel.bottom)}` }),
        svg("circle", { class: "touch", cy: mm(y), r: 2.6 }), svg("circle", { class: "ring", cy: mm(y), r: 1.5 }),
      );
      handle.addEventListener("keydown", (event) => this.key(name, event));
      this.drag(handle, name);
      this.layer.append(handle);
      this.handles[name] = handle;
    });
    WAVES.forEach(({ name, from, to }) => {
      if (this.marks[from] === null || this.marks[to] === null) return;
      this.layer.append(svg("text", { class: `wave-name wave-${name}`, "data-wave": name, y: mm(this.panel.top + 2.6), "text-anchor": name === "P" ? "start" : "middle" }, name));
    });
  }

  place() {
    const page = this.host.page();
    for (const [name, handle] of Object.entries(this.handles)) {
      // The onset of the QRS itself is told from the R peak, or it would never move.
      const zero = name === "qrs_onset" ? 0 : this.marks.qrs_onset || 0;
      const away = Math.round(this.marks[name] - zero);
      handle.setAttribute("transform", `translate(${mm(page.x(this.at(this.beat, name)))} 0)`);
      const [low, high] = this.limits(name);
      handle.setAttribute("aria-valuemin", Math.round(low - zero));
      handle.setAttribute("aria-valuemax", Math.round(high - zero));
      handle.setAttribute("aria-valuenow", away);
      const from = name === "qrs_onset" ? "R peak" : "onset of the QRS";
      handle.setAttribute("aria-valuetext", `${Math.abs(away)} ms ${away < 0 ? "before" : "after"} the ${from}; ${this.reading()}`);
    }
    for (const text of this.layer.querySelectorAll(".wave-name")) {
      const { from, to } = WAVES.find(({ name }) => name === text.dataset.wave);
      // P at its onset: in its middle it would often stand under the letters of the QRS.
      const t = this.at(this.beat, from);
      text.setAttribute("x", mm(page.x(text.dataset.wave === "P" ? t : (t + this.at(this.beat, to)) / 2)));
    }
    const hand = this.told.hand.map((name) => MARKS[name]);
    const missing = Object.values(this.told.missing);
    this.words.textContent = [this.reading(), hand.length ? `set by hand: ${hand.join(", ")}` : "", ...missing].filter(Boolean).join(" · ");
    for (const button of this.placing) {
      const { to } = WAVES.find(({ name }) => name === button.dataset.place);
      button.hidden = this.marks[to] !== null || this.marks.qrs_offset === null;
    }
    this.undo.hidden = !this.told.steps;
    this.reset.hidden = !hand.length;
  }

  // A wave that was not found and that a person sees all the same.
  placeWave(wave) {
    const { qrs_onset: onset, qrs_offset: end } = this.marks;
    const set = Object.entries(USUAL_MS[wave]).map(([name, away]) => [name, Math.round((wave === "P" ? onset : end) + away)]);
    this.placed = set[0][0];
    this.tell({ set: { ...this.pending, ...Object.fromEntries(set) } });
  }

  reading() {
    return INTERVALS.filter(([, from, to]) => this.marks[from] !== null && this.marks[to] !== null)
      .map(([name, from, to]) => `${name} ${Math.round(this.marks[to] - this.marks[from])} ms`).join(" · ");
  }

  // Between its neighbours.
  limits(name) {
    const order = this.there();
    const i = order.indexOf(name);
    const gap = (first) => (first === "p_offset" ? 0 : LEAST_WAVE_MS);
    return [
      i > 0 ? this.marks[order[i - 1]] + gap(order[i - 1]) : REACH_MS[0],
      i + 1 < order.length ? this.marks[order[i + 1]] - gap(name) : REACH_MS[1],
    ];
  }

  move(name, to) {
    const [low, high] = this.limits(name);
    const wanted = clamp(MARK_STEP_MS * Math.round(to / MARK_STEP_MS), low, high);
    if (wanted === this.marks[name]) return;
    this.marks[name] = wanted;
    this.pending = { ...this.pending, [name]: wanted };
    this.bands.replaceChildren();
    for (const t of this.told.beats) this.drawBands(t);
    this.place();
    this.host.say(`${MARKS[name]}: ${this.reading()}`);
    this.later();
  }

  // The answer draws the handles anew, which must not happen under a finger.
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.pending && !this.dragging) this.tell({ set: this.pending });
    }, TELL_AFTER_MS);
  }

  tell(what) {
    const unsaid = this.pending;
    clearTimeout(this.timer);
    this.pending = null;
    if (what.undo && unsaid) {
      this.marks = { ...this.told.marks };
      this.draw(true);
      return;
    }
    this.number += 1;
    this.host.send({ n: this.number, ...what });
  }

  drag(handle, name) {
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      event.stopPropagation();
      handle.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      this.dragging = true;
      const start = this.host.point(event).x;
      const before = this.marks[name];
      const follow = (moved) => {
        this.move(name, before + (1000 * (this.host.point(moved).x - start)) / this.host.page().speed);
      };
      const stop = () => {
        handle.removeEventListener("pointermove", follow);
        handle.removeEventListener("pointerup", stop);
        handle.removeEventListener("pointercancel", stop);
        this.dragging = false;
        this.draw(true);
        this.later();
      };
      handle.addEventListener("pointermove", follow);
      handle.addEventListener("pointerup", stop);
      handle.addEventListener("pointercancel", stop);
    });
  }

  key(name, event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? LARGE_MARK_STEP_MS : MARK_STEP_MS;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.move(name, this.marks[name] + (event.key === "ArrowLeft" ? -step : step));
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      const next = this.fitting[this.fitting.indexOf(this.beat) + (event.key === "PageDown" ? 1 : -1)];
      if (next === undefined) return;
      this.beat = next;
      this.draw(true);
      this.handles[name].focus();
      this.handles[name].scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (event.key === "z" || event.key === "Z") {
      if (this.told.steps || this.pending) this.tell({ undo: true });
    } else if (event.key === "Escape") {
      this.host.focusBack();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  close() {
    clearTimeout(this.timer);
  }
}
