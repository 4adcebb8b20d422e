// Calipers: two ends each, in seconds and millivolts of one lead, so that they stay where they
// are on the heart whatever the speed, the gain, the layout or the zoom.

const STEP_S = 0.005;
const LARGE_STEP_S = 0.05;
const STEP_MV = 0.02;
const LARGE_STEP_MV = 0.1;
const SNAP_S = 0.04;
const SAY_AFTER_MS = 500;

const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

function reading(caliper) {
  const ms = 1000 * Math.abs(caliper.ends[1].t - caliper.ends[0].t);
  const mv = caliper.ends[1].mv - caliper.ends[0].mv;
  const bpm = ms >= 100 ? `${(60000 / ms).toFixed(0)} bpm` : "– bpm";
  return { ms, mv, words: `${ms.toFixed(0)} ms · ${bpm} · ${signed(mv, 2)} mV` };
}

class Calipers {
  constructor(layer, list, live, host) {
    this.layer = layer;
    this.list = list;
    this.live = live;
    this.host = host; // {page(), leads(), fs(), snap(), point(event), focusAdd(), changed()}
    this.all = [];
    this.count = 0;
    this.timer = null;
  }

  clear() {
    this.all.forEach((caliper) => this.remove(caliper, false));
    this.say("All calipers cleared.");
    this.host.changed();
  }

  add(panel, first, second, march = this.host.march()) {
    this.count += 1;
    const caliper = {
      number: this.count, lead: panel.name, rhythm: panel.rhythm, march,
      ends: [{ ...first }, { ...second }],
    };
    this.build(caliper);
    this.all.push(caliper);
    this.place(caliper);
    return caliper;
  }

  remove(caliper, tell = true) {
    caliper.group.remove();
    caliper.item.remove();
    this.all = this.all.filter((other) => other !== caliper);
    if (!tell) return;
    this.say(`Caliper ${caliper.number} removed.`);
    this.host.changed();
  }

  // The panel of this layout that shows the caliper, if one does.
  panelOf(caliper) {
    const shows = (p) => p.name === caliper.lead
      && caliper.ends.every((end) => end.t >= p.t0 - 1e-6 && end.t <= p.t1 + 1e-6);
    const fitting = this.host.page().panels.filter(shows);
    return fitting.find((p) => p.rhythm === caliper.rhythm) || fitting[0] || null;
  }

  build(caliper) {
    const group = svg("g", { class: "caliper", "data-number": caliper.number });
    caliper.marches = svg("path", { class: "march" });
    caliper.lines = svg("path", { class: "lines" });
    caliper.bar = svg("path", { class: "bar" });
    caliper.grip = svg("path", { class: "grip" });
    caliper.label = svg("text", { class: "reading" });
    group.append(caliper.marches, caliper.lines, caliper.bar, caliper.grip, caliper.label);
    caliper.handles = caliper.ends.map((_, i) => {
      const handle = svg("g", {
        class: "handle", tabindex: "0", role: "slider", "aria-orientation": "horizontal",
        "aria-label": `Caliper ${caliper.number}, ${i ? "second" : "first"} end`,
      });
      handle.append(svg("circle", { class: "touch", r: 4 }), svg("circle", { class: "ring", r: 2.2 }), svg("circle", { class: "dot", r: 1.1 }));
      handle.addEventListener("keydown", (event) => this.key(caliper, i, event));
      this.drag(handle, caliper, [i]);
      group.append(handle);
      return handle;
    });
    this.drag(caliper.grip, caliper, [0, 1]);
    this.layer.append(group);
    caliper.group = group;
    caliper.item = html("li");
    caliper.words = html("span", { class: "words" });
    const march = html("button", { type: "button", "aria-pressed": String(caliper.march) }, "March out");
    march.addEventListener("click", () => this.toggleMarch(caliper));
    const remove = html("button", { type: "button", "aria-label": `Remove caliper ${caliper.number}` }, "Remove");
    remove.addEventListener("click", () => {
      this.remove(caliper);
      this.host.focusAdd();
    });
    caliper.marchButton = march;
    caliper.item.append(caliper.words, march, remove);
    this.list.append(caliper.item);
  }

  toggleMarch(caliper) {
    caliper.march = !caliper.march;
    caliper.marchButton.setAttribute("aria-pressed", String(caliper.march));
    this.place(caliper);
    this.host.changed();
  }

  place(caliper) {
    const page = this.host.page();
    const panel = this.panelOf(caliper);
    const { words, ms } = reading(caliper);
    caliper.group.style.display = panel ? "" : "none";
    const absent = panel ? "" : " (not in this layout)";
    caliper.words.textContent = `${caliper.number} · lead ${caliper.lead} · ${words}${absent}`;
    if (!panel) return;
    const [a, b] = caliper.ends.map((end) => ({ x: page.x(end.t), y: yOf(panel, end.mv) }));
    const top = Math.min(panel.top + 1, a.y - 2, b.y - 2);
    const bottom = Math.max(panel.bottom - 1, a.y + 2, b.y + 2);
    caliper.lines.setAttribute("d", `M${mm(a.x)} ${mm(top)}V${mm(bottom)}M${mm(b.x)} ${mm(top)}V${mm(bottom)}`);
    const level = `M${mm(a.x)} ${mm(a.y)}H${mm(b.x)}M${mm(b.x)} ${mm(a.y)}V${mm(b.y)}`;
    caliper.bar.setAttribute("d", level);
    caliper.grip.setAttribute("d", `M${mm(a.x)} ${mm(a.y)}H${mm(b.x)}`);
    caliper.marches.setAttribute("d", caliper.march ? this.marches(page, panel, caliper, top, bottom, ms) : "");
    caliper.label.textContent = words;
    const middle = clamp((a.x + b.x) / 2, 24, page.width - 24);
    caliper.label.setAttribute("x", mm(middle));
    caliper.label.setAttribute("y", mm(Math.max(top + 2.6, 3)));
    caliper.handles.forEach((handle, i) => {
      const end = caliper.ends[i];
      handle.setAttribute("transform", `translate(${mm(page.x(end.t))} ${mm(yOf(panel, end.mv))})`);
      handle.setAttribute("aria-valuemin", Math.round(1000 * panel.t0));
      handle.setAttribute("aria-valuemax", Math.round(1000 * panel.t1));
      handle.setAttribute("aria-valuenow", Math.round(1000 * end.t));
      handle.setAttribute("aria-valuetext", `lead ${caliper.lead}, ${end.t.toFixed(3)} s, ${end.mv.toFixed(2)} mV; interval ${words}`);
    });
  }

  // The same distance again and again over the lead, as dividers are walked along a strip.
  marches(page, panel, caliper, top, bottom, ms) {
    const step = ms / 1000;
    if (step < 0.1) return "";
    const [first, last] = caliper.ends.map((end) => end.t).sort((p, q) => p - q);
    let d = "";
    for (let t = last + step; t <= panel.t1 + 1e-9; t += step) d += `M${mm(page.x(t))} ${mm(top)}V${mm(bottom)}`;
    for (let t = first - step; t >= panel.t0 - 1e-9; t -= step) d += `M${mm(page.x(t))} ${mm(top)}V${mm(bottom)}`;
    return d;
  }

  placeAll() {
    this.all.forEach((caliper) => this.place(caliper));
  }

  tell(caliper) {
    this.host.changed();
    this.say(`Caliper ${caliper.number}, lead ${caliper.lead}: ${reading(caliper).words}`);
  }

  // Said once the hand rests, not at every step.
  say(words) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.live.textContent = words;
    }, SAY_AFTER_MS);
  }

  move(caliper, which, dt, dmv) {
    const panel = this.panelOf(caliper);
    if (!panel) return;
    const times = which.map((i) => caliper.ends[i].t);
    const allowed = clamp(dt, panel.t0 - Math.min(...times), panel.t1 - Math.max(...times));
    for (const i of which) {
      caliper.ends[i].t += allowed;
      caliper.ends[i].mv += dmv;
    }
    this.place(caliper);
    this.tell(caliper);
  }

  snapped(name, point) {
    const lead = this.host.leads().get(name);
    const peak = lead && lead.mv ? peakNear(lead, this.host.fs(), point.t, SNAP_S) : null;
    return peak ? { t: peak.t, mv: peak.mv } : point;
  }

  drag(element, caliper, which) {
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      event.stopPropagation();
      element.setPointerCapture(event.pointerId);
      if (which.length === 1) element.focus({ preventScroll: true });
      const start = this.host.point(event);
      const before = caliper.ends.map((end) => ({ ...end }));
      const panel = this.panelOf(caliper);
      const follow = (moved) => {
        const now = this.host.point(moved);
        const dt = (now.x - start.x) / this.host.page().speed;
        const dmv = (start.y - now.y) / panel.gain;
        which.forEach((i) => Object.assign(caliper.ends[i], before[i]));
        if (which.length === 1 && this.host.snap()) {
          const end = caliper.ends[which[0]];
          const t = clamp(end.t + dt, panel.t0, panel.t1);
          Object.assign(end, this.snapped(caliper.lead, { t, mv: end.mv + dmv }));
          this.move(caliper, which, 0, 0);
        } else {
          this.move(caliper, which, dt, dmv);
        }
      };
      const stop = () => {
        element.removeEventListener("pointermove", follow);
        element.removeEventListener("pointerup", stop);
        element.removeEventListener("pointercancel", stop);
      };
      element.addEventListener("pointermove", follow);
      element.addEventListener("pointerup", stop);
      element.addEventListener("pointercancel", stop);
    });
  }

  key(caliper, i, event) {
    const steps = event.shiftKey ? [LARGE_STEP_S, LARGE_STEP_MV] : [STEP_S, STEP_MV];
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (moves[event.key]) {
      this.move(caliper, [i], moves[event.key][0] * steps[0], moves[event.key][1] * steps[1]);
    } else if (event.key === "Enter" || event.key === " ") {
      Object.assign(caliper.ends[i], this.snapped(caliper.lead, caliper.ends[i]));
      this.move(caliper, [i], 0, 0);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      this.toNextLead(caliper, event.key === "PageDown" ? 1 : -1);
    } else if (event.key === "m" || event.key === "M") {
      this.toggleMarch(caliper);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove(caliper);
      this.host.focusAdd();
    } else if (event.key === "Escape") {
      this.host.focusAdd();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // The next lead that was recorded and is shown at the same time.
  toNextLead(caliper, direction) {
    const shows = this.host.page().panels.filter((p) => p.origin !== "missing"
      && caliper.ends.every((end) => end.t >= p.t0 - 1e-6 && end.t <= p.t1 + 1e-6));
    const at = shows.indexOf(this.panelOf(caliper));
    const next = shows[(at + direction + shows.length) % shows.length];
    if (!next) return;
    caliper.lead = next.name;
    caliper.rhythm = next.rhythm;
    this.place(caliper);
    this.tell(caliper);
    caliper.handles[0].scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
