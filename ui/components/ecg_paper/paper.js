// The part that Streamlit mounts: toolbar, page, calipers, and what of it Python is told.

const LEAST_PX_PER_MM = 4.2;
const MOST_PX_PER_MM = 5;
// Beside another paper all ten seconds are to be seen at once.
const LEAST_BESIDE_PX_PER_MM = 2.2;
const ZOOMS = [0.5, 0.75, 1, 1.5, 2, 3, 4];
const LAYOUTS = { "3x4": "3 × 4 and rhythm", "12x1": "12 leads × 10 s", "6x2": "6 × 2", single: "Single lead" };
const DEFAULTS = {
  layout: "3x4", speed: 25, gain: 10, lead: "II", fit: false, beats: true, cells: true, waves: false, zoom: 1,
};
const SEND_AFTER_MS = 250;
const CALIPERS_AFTER_MS = 600;
const STEADY_MS = 4000;

class Paper {
  constructor(parent, send) {
    this.send = send;
    this.settings = { ...DEFAULTS };
    this.drawing = false;
    this.window = null;
    this.build(parent);
    this.resized = new ResizeObserver(() => this.scale());
    this.resized.observe(this.box);
  }

  build(parent) {
    this.root = html("section", { class: "paper" });
    this.bar = html("div", { class: "bar-row", role: "group", "aria-label": "Paper" });
    this.tools = html("div", { class: "bar-row", role: "group", "aria-label": "Calipers" });
    this.rate = html("div", { class: "rate" });
    this.hidden = html("p", { class: "hidden" });
    this.box = html("div", { class: "box", tabindex: "0", role: "region" });
    this.sheet = svg("svg", { role: "group", class: "sheet-box" });
    this.layers = {};
    for (const name of ["grid", "cells", "bands", "traces", "words", "names"]) {
      this.layers[name] = svg("g", { class: name, "aria-hidden": "true" });
      this.sheet.append(this.layers[name]);
    }
    const marks = svg("g", { class: "marks" });
    const layer = svg("g", { class: "calipers" });
    this.sheet.append(marks, layer);
    this.box.append(this.sheet);
    const list = html("ul", { class: "readings", "aria-label": "Calipers" });
    const live = html("div", { class: "hidden", role: "status", "aria-live": "polite" });
    this.waveHelp = html("p", { class: "help" }, "Waves by keyboard: arrows move the mark that has the focus by 2 ms, Shift by 10, Page up and down other beat, Z undoes.");
    this.help = html("p", { class: "help" }, "Calipers by keyboard: arrows move an end, Shift further, Tab other end, Page up and down other lead, Enter nearest peak, M march out, Delete removes.");
    const waves = html("div", { class: "waves", role: "group", "aria-label": "Waves" });
    this.root.append(this.bar, this.tools, this.hidden, waves, this.box, list, this.waveHelp, this.help, live);
    parent.append(this.root);
    this.calipers = new Calipers(layer, list, live, {
      page: () => this.page, leads: () => this.leads, fs: () => this.data.fs,
      snap: () => this.snap.checked, march: () => this.march.checked,
      point: (event) => this.point(event), focusAdd: () => this.addButton.focus(),
      changed: () => this.tellCalipers(),
    });
    this.waves = new Waves(this.layers.bands, marks, waves, {
      page: () => this.page, point: (event) => this.point(event),
      middle: () => this.page.t((this.box.scrollLeft + this.box.clientWidth / 2) / this.pxPerMm),
      send: (what) => {
        this.steady();
        this.send("marks", what);
      },
      say: (words) => this.calipers.say(words), focusBack: () => this.checks.waves.focus(),
    });
    this.buildControls();
    this.listen();
  }

  buildControls() {
    const change = (name, read) => (event) => {
      this.settings[name] = read(event.target);
      this.draw();
      this.tellPython();
    };
    const select = (label, name, options, read) => {
      const wrap = html("label", { class: "field" });
      const menu = html("select", { "data-setting": name });
      for (const [value, words] of options) menu.append(html("option", { value }, words));
      menu.addEventListener("change", change(name, read));
      wrap.append(html("span", {}, label), menu);
      this.bar.append(wrap);
      return { wrap, menu, words: wrap.firstChild };
    };
    const check = (row, label, name, title) => {
      const wrap = html("label", { class: "check", title });
      const box = html("input", { type: "checkbox" });
      if (name) {
        box.setAttribute("data-setting", name);
        box.addEventListener("change", change(name, (target) => target.checked));
      }
      wrap.append(box, html("span", {}, label));
      row.append(wrap);
      return box;
    };
    const button = (row, label, act, attributes = {}) => {
      const made = html("button", { type: "button", ...attributes }, label);
      made.addEventListener("click", act);
      row.append(made);
      return made;
    };
    const text = (target) => target.value;
    const number = (target) => Number(target.value);
    this.controls = {
      layout: select("Layout", "layout", Object.entries(LAYOUTS), text),
      speed: select("Speed", "speed", [12.5, 25, 50].map((v) => [v, `${v} mm/s`]), number),
      gain: select("Gain", "gain", [5, 10, 20].map((v) => [v, `${v} mm/mV`]), number),
      lead: select("Rhythm lead", "lead", LEADS.map((lead) => [lead, lead]), text),
    };
    this.checks = {
      fit: check(this.bar, "Fit each lead", "fit", "Each lead gets a gain of its own, written beside its name. Heights of different leads can then not be compared."),
      beats: check(this.bar, "Beats", "beats", "Mark the beats found and the intervals between them in ms"),
      waves: check(this.bar, "Waves", "waves", "Show where P, QRS and T begin and end as measured, with handles that the pointer or the arrow keys move: Shift further, Page up and down other beat, Z undoes"),
      cells: check(this.bar, "Uncertainty", "cells", "Colour the paper where the model is unsure of a lead"),
    };
    const zoom = html("span", { class: "zoom", role: "group", "aria-label": "Zoom" });
    this.bar.append(zoom);
    button(zoom, "−", () => this.zoomBy(-1), { "aria-label": "Zoom out" });
    this.zoomWords = button(zoom, "100 %", () => this.zoomTo(1), { "aria-label": "Zoom to the usual size" });
    button(zoom, "+", () => this.zoomBy(1), { "aria-label": "Zoom in" });
    this.tools.append(html("strong", {}, "Calipers"));
    this.drawButton = button(this.tools, "Draw with the pointer", () => this.setDrawing(!this.drawing), {
      "aria-pressed": "false", title: "Then drag on the paper from one point to another",
    });
    this.addButton = button(this.tools, "Add", () => this.addInView(), {
      title: "Places calipers that the keyboard moves: arrow keys, with Shift further, Tab to the other end, Page up and down to another lead, Enter to the nearest peak, M to march out, Delete to remove",
    });
    this.march = check(this.tools, "March out", null, "New calipers repeat their distance along the lead");
    this.snap = check(this.tools, "Snap to peaks", null, "An end that is dragged jumps to the nearest peak within 40 ms");
    button(this.tools, "Clear", () => {
      this.calipers.clear();
      this.addButton.focus();
    });
    this.tools.append(this.rate);
  }

  listen() {
    this.sheet.addEventListener("pointerdown", (event) => this.begin(event));
    this.box.addEventListener("scroll", () => this.keepNames());
    this.box.addEventListener("keydown", (event) => {
      if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { "+": () => this.zoomBy(1), "=": () => this.zoomBy(1), "-": () => this.zoomBy(-1), 0: () => this.zoomTo(1) }[event.key];
      if (act) {
        act();
        event.preventDefault();
        event.stopPropagation();
      }
    });
  }

  // Beside its row, a name stays in sight while the row is scrolled.
  keepNames() {
    const shift = this.page && this.page.named ? this.box.scrollLeft / this.pxPerMm : 0;
    this.layers.names.setAttribute("transform", `translate(${shift} 0)`);
  }

  setDrawing(on) {
    this.drawing = on;
    this.drawButton.setAttribute("aria-pressed", String(on));
    this.sheet.classList.toggle("drawing", on);
  }

  // Where on the page, in mm.
  point(event) {
    const box = this.sheet.getBoundingClientRect();
    return { x: (event.clientX - box.left) / this.pxPerMm, y: (event.clientY - box.top) / this.pxPerMm };
  }

  begin(event) {
    if (event.button !== 0) return;
    if (!this.drawing) {
      if (event.pointerType === "mouse") this.pan(event);
      return;
    }
    event.preventDefault();
    this.sheet.setPointerCapture(event.pointerId);
    const start = this.point(event);
    const panel = panelAt(this.page, start.x, start.y);
    if (panel.origin === "missing") return;
    const at = (p) => {
      const end = { t: clamp(this.page.t(p.x), panel.t0, panel.t1), mv: mvOf(panel, p.y) };
      return this.snap.checked ? this.calipers.snapped(panel.name, end) : end;
    };
    let caliper = null;
    const follow = (moved) => {
      const now = this.point(moved);
      if (!caliper && Math.hypot(now.x - start.x, now.y - start.y) * this.pxPerMm < 4) return;
      if (!caliper) caliper = this.calipers.add(panel, at(start), at(now));
      Object.assign(caliper.ends[1], at(now));
      this.calipers.place(caliper);
      this.calipers.tell(caliper);
    };
    const stop = () => {
      this.sheet.removeEventListener("pointermove", follow);
      this.sheet.removeEventListener("pointerup", stop);
      this.sheet.removeEventListener("pointercancel", stop);
      if (caliper) caliper.handles[1].focus({ preventScroll: true });
    };
    this.sheet.addEventListener("pointermove", follow);
    this.sheet.addEventListener("pointerup", stop);
    this.sheet.addEventListener("pointercancel", stop);
  }

  pan(event) {
    const from = { x: event.clientX, y: event.clientY, left: this.box.scrollLeft, top: this.box.scrollTop };
    this.sheet.setPointerCapture(event.pointerId);
    const follow = (moved) => {
      this.box.scrollLeft = from.left - (moved.clientX - from.x);
      this.box.scrollTop = from.top - (moved.clientY - from.y);
    };
    const stop = () => {
      this.sheet.removeEventListener("pointermove", follow);
      this.sheet.removeEventListener("pointerup", stop);
      this.sheet.removeEventListener("pointercancel", stop);
    };
    this.sheet.addEventListener("pointermove", follow);
    this.sheet.addEventListener("pointerup", stop);
    this.sheet.addEventListener("pointercancel", stop);
  }

  // Calipers in the middle of what is seen, on the rhythm strip or the lead chosen.
  addInView() {
    const panels = this.page.panels.filter((p) => p.origin !== "missing");
    if (!panels.length) return;
    const panel = panels.find((p) => p.rhythm) || panels.find((p) => p.name === this.settings.lead) || panels[0];
    const shown = (this.box.scrollLeft + this.box.clientWidth / 2) / this.pxPerMm;
    const length = Math.min(1, (panel.t1 - panel.t0) / 2);
    const begin = clamp(this.page.t(shown) - length / 2, panel.t0, panel.t1 - length);
    const start = Math.round(begin * 20) / 20;
    const caliper = this.calipers.add(panel, { t: start, mv: 0 }, { t: start + length, mv: 0 });
    caliper.handles[0].focus();
    this.calipers.tell(caliper);
  }

  zoomBy(direction) {
    const at = ZOOMS.indexOf(this.settings.zoom);
    this.zoomTo(ZOOMS[clamp((at < 0 ? 2 : at) + direction, 0, ZOOMS.length - 1)]);
  }

  zoomTo(zoom) {
    this.settings.zoom = zoom;
    this.scale();
    this.tellPython();
  }

  // Both sides get the same number of pixels for a mm, and the middle of the view stays.
  scale() {
    if (!this.page || !this.box.clientWidth) return;
    const { width, height } = this.page;
    const middle = this.pxPerMm ? (this.box.scrollLeft + this.box.clientWidth / 2) / this.pxPerMm : 0;
    const least = this.data.beside ? LEAST_BESIDE_PX_PER_MM : LEAST_PX_PER_MM;
    const usual = clamp(this.box.clientWidth / width, least, MOST_PX_PER_MM);
    this.pxPerMm = usual * this.settings.zoom;
    this.sheet.style.width = `${width * this.pxPerMm}px`;
    this.sheet.style.height = `${height * this.pxPerMm}px`;
    // Enlarged, it scrolls in its own box; at its usual size with the page.
    this.box.classList.toggle("enlarged", this.settings.zoom > 1);
    this.root.dataset.pxPerMm = String(this.pxPerMm);
    this.zoomWords.textContent = `${Math.round(100 * this.settings.zoom)} %`;
    if (middle > 0) this.box.scrollLeft = middle * this.pxPerMm - this.box.clientWidth / 2;
    this.keepNames();
  }

  update(data) {
    const fresh = this.window !== data.window;
    const restored = this.round !== data.round;
    if (restored) {
      this.round = data.round;
      this.settings = { ...DEFAULTS, ...data.settings };
    }
    // An answer to settings brings nothing new, and what is drawn stays as it is.
    const content = JSON.stringify([data.leads, data.samples, data.cells, data.beats, data.device, data.under, data.waves]);
    if (!fresh && !restored && this.content === content) return;
    this.content = content;
    this.data = data;
    this.leads = decodeLeads(data);
    this.under = data.under ? decodeLeads({ ...data, ...data.under }) : null;
    this.waves.take(data.waves);
    const name = ["ECG paper", data.label].filter(Boolean).join(" ");
    this.root.setAttribute("aria-label", name);
    this.box.setAttribute("aria-label", `${name}, scrolls with the arrow keys, plus and minus zoom`);
    this.root.classList.toggle("beside", Boolean(data.beside));
    this.root.classList.toggle("follows", data.beside === "second");
    if (fresh || restored) {
      this.flushCalipers();
      this.calipers.all.slice().forEach((caliper) => this.calipers.remove(caliper, false));
    }
    this.window = data.window;
    const present = data.leads.filter((lead) => lead.origin !== "missing").map((lead) => lead.name);
    for (const option of this.controls.lead.menu.options) option.disabled = !present.includes(option.value);
    this.present = present;
    this.draw();
    if (fresh || restored) this.keepCalipers(data.calipers || []);
  }

  // Those that were drawn on this window before.
  keepCalipers(kept) {
    for (const { lead, t, mv, march } of kept) {
      const ends = t.map((at, i) => ({ t: at, mv: mv[i] }));
      const panels = this.page.panels.filter((p) => p.name === lead);
      this.calipers.add(panels.find((p) => p.rhythm) || panels[0] || { name: lead, rhythm: false }, ...ends, march);
    }
  }

  // Python keeps the calipers of a window for whoever comes back to it, and for what is taken away.
  tellCalipers() {
    if (!this.data.calipers) return;
    clearTimeout(this.caliperTimer);
    this.calipersOf = { window: this.data.window, start: this.data.start };
    this.caliperTimer = setTimeout(() => this.flushCalipers(), CALIPERS_AFTER_MS);
  }

  flushCalipers() {
    if (!this.calipersOf) return;
    clearTimeout(this.caliperTimer);
    const list = this.calipers.all.map(({ lead, ends, march }) => (
      { lead, march, t: ends.map((end) => end.t), mv: ends.map((end) => end.mv) }));
    const where = this.calipersOf;
    this.calipersOf = null;
    this.steady();
    this.send("calipers", { ...where, list });
  }

  draw() {
    const shown = { ...this.settings };
    if (!this.present.includes(shown.lead) && this.present.length) {
      shown.lead = this.present.includes("II") ? "II" : this.present[0];
    }
    this.page = layOut(this.data, this.leads, shown, this.under);
    this.sheet.setAttribute("viewBox", `0 0 ${this.page.width} ${this.page.height}`);
    drawPage(this.layers, this.page, this.data, this.leads, shown, this.under);
    this.scale();
    this.calipers.placeAll();
    this.waves.draw(shown.waves && this.data.waves !== null);
    this.waveHelp.hidden = !(shown.waves && this.data.waves !== null);
    for (const [name, { menu }] of Object.entries(this.controls)) menu.value = String(shown[name]);
    for (const [name, box] of Object.entries(this.checks)) box.checked = shown[name];
    // Of few leads each has all of the paper, so that none is a rhythm strip.
    const rhythm = this.page.panels.some((panel) => panel.rhythm);
    this.controls.lead.wrap.hidden = !rhythm && shown.layout !== "single";
    this.controls.lead.words.textContent = shown.layout === "single" ? "Lead" : "Rhythm lead";
    this.controls.gain.menu.disabled = shown.fit;
    this.checks.cells.parentElement.hidden = !this.data.cells;
    this.checks.waves.parentElement.hidden = this.data.waves === null;
    this.sheet.setAttribute("aria-label", `${LAYOUTS[shown.layout]}, ${shown.speed} mm/s, ${shown.fit ? "gain by lead" : `${shown.gain} mm/mV`}`);
    this.tellRate(shown);
  }

  tellRate(shown) {
    const { beats } = this.data;
    this.rate.replaceChildren();
    if (beats.words) this.rate.append(html("span", { class: "bpm" }, beats.words));
    if (this.data.device.words) this.rate.append(html("span", { class: "file" }, this.data.device.words));
    if (beats.caution) this.rate.append(html("span", { class: "caution" }, `⚠ ${beats.caution}`));
    const rr = beats.rr.filter((value) => value !== null).map((value) => Math.round(value));
    this.hidden.textContent = shown.beats && rr.length ? `RR intervals in ms: ${rr.join(", ")}.` : "";
  }

  tellPython() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.steady();
      this.send("settings", { ...this.settings });
    }, SEND_AFTER_MS);
  }

  // Streamlit fades what awaits an answer. The answer to settings changes nothing on this paper.
  steady() {
    const root = this.root.getRootNode();
    const holder = (root.host || this.root).closest("[data-testid=stElementContainer]");
    if (!holder) return;
    holder.style.setProperty("opacity", "1", "important");
    clearTimeout(this.steadyTimer);
    this.steadyTimer = setTimeout(() => holder.style.removeProperty("opacity"), STEADY_MS);
  }

  close() {
    this.resized.disconnect();
    clearTimeout(this.timer);
    clearTimeout(this.steadyTimer);
    clearTimeout(this.caliperTimer);
    this.waves.close();
    this.root.remove();
  }
}

const PAPERS = new WeakMap();

export default function ecgPaper({ data, parentElement, setStateValue }) {
  let paper = PAPERS.get(parentElement);
  if (!paper) {
    paper = new Paper(parentElement, setStateValue);
    PAPERS.set(parentElement, paper);
  }
  paper.send = setStateValue;
  paper.update(data);
  return () => {
    paper.close();
    PAPERS.delete(parentElement);
  };
}
