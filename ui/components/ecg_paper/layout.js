// Where everything lies on the page, in millimetres of paper. No drawing here.
// Every length is in mm, so one number (pixels per mm) is the scale of the whole page and the
// ratio of time to voltage cannot change with the size of the window, the zoom or a scroll.

const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];
const ROWS = {
  "3x4": [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]],
  "6x2": ["I", "II", "III", "aVR", "aVL", "aVF"].map((lead, i) => [lead, `V${i + 1}`]),
  "12x1": LEADS.map((lead) => [lead]),
};
const GAP = -32768;
const PULSE_MV = 1;
const PULSE_S = 0.2;
const NAME_MM = 12;
const BEATS_MM = 10;
const FOOT_MM = 10;
const FIT_GAINS = [80, 40, 20, 10, 5, 2.5];
const FIT_MM = 12;

const up5 = (mm) => 5 * Math.ceil(mm / 5 - 1e-9);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Base64 of little-endian int16 microvolts, lead after lead, to one array of mV for each lead.
function decodeLeads(data) {
  const bytes = Uint8Array.from(atob(data.samples), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const leads = new Map();
  let at = 0;
  for (const lead of data.leads) {
    let mv = null;
    if (lead.origin !== "missing") {
      mv = new Float32Array(data.n);
      for (let i = 0; i < data.n; i += 1, at += 2) {
        const value = view.getInt16(at, true);
        mv[i] = value === GAP ? NaN : value / 1000;
      }
    }
    leads.set(lead.name, { ...lead, mv });
  }
  return leads;
}

function extremes(mv, first, last) {
  let high = 0;
  let low = 0;
  for (let i = first; i < last && mv; i += 1) {
    if (mv[i] > high) high = mv[i];
    if (mv[i] < low) low = mv[i];
  }
  return [high, -low];
}

// The gain that shows most of one lead in FIT_MM, out of a few round ones.
function fittingGain(mv) {
  const sizes = Array.from(mv || []).filter((v) => !Number.isNaN(v)).map(Math.abs).sort((a, b) => a - b);
  const large = sizes.length ? sizes[Math.floor(0.995 * (sizes.length - 1))] : 1;
  return FIT_GAINS.find((gain) => gain * large <= FIT_MM) || FIT_GAINS[FIT_GAINS.length - 1];
}

function rowsOf(settings) {
  if (settings.layout === "single") return [{ leads: [settings.lead], rhythm: false }];
  const rows = ROWS[settings.layout].map((leads) => ({ leads, rhythm: false }));
  if (settings.layout === "3x4") rows.push({ leads: [settings.lead], rhythm: true });
  return rows;
}

// How far the traces of a row reach up and down in each quarter of its length, in mm.
function reachOf(row, leads, gainOf, n) {
  return [0, 1, 2, 3].map((q) => {
    const name = row.leads[Math.floor((q * row.leads.length) / 4)];
    const [up, down] = extremes(leads.get(name).mv, Math.floor((q * n) / 4), Math.floor(((q + 1) * n) / 4));
    return [up * gainOf(name), down * gainOf(name)];
  });
}

function layOut(data, leads, settings) {
  const { speed, gain } = settings;
  const seconds = data.n / data.fs;
  const gains = new Map(LEADS.map((name) => [name, settings.fit ? fittingGain(leads.get(name).mv) : gain]));
  const gainOf = (name) => gains.get(name);
  const rows = rowsOf(settings);
  const named = rows.every((row) => row.leads.length === 1);
  const pulseMm = PULSE_S * speed;
  const left = up5((named ? NAME_MM : 1) + pulseMm + 3);
  const width = up5(left + seconds * speed + 3);
  const reach = rows.map((row) => reachOf(row, leads, gainOf, data.n));
  const usual = settings.fit ? 10 : gain;
  const empty = (row) => row.leads.every((name) => leads.get(name).origin === "missing");
  // Rows are as far apart as their complexes need, on whole large boxes, within limits: a loose
  // electrode must not stretch the page, it runs over its neighbours as on any machine.
  const apart = (i) => {
    const need = Math.max(...[0, 1, 2, 3].map((q) => reach[i][q][1] + reach[i + 1][q][0])) + 2;
    const least = empty(rows[i]) || empty(rows[i + 1]) ? 10 : 15;
    return clamp(up5(need), least, Math.max(25, up5(2.5 * usual)));
  };
  const steps = rows.slice(1).map((_, i) => apart(i));
  if (settings.layout === "3x4") {
    const same = clamp(Math.max(...steps), 25, Math.max(25, up5(4 * usual)));
    steps.fill(same);
  }
  const top = settings.beats ? BEATS_MM : 0;
  const first = Math.max(...reach[0].map(([up]) => up)) + 3;
  let base = top + up5(clamp(first, named ? 15 : 20, Math.max(25, up5(3 * usual))));
  const bases = [base, ...steps.map((step) => (base += step))];
  const last = Math.max(...reach[rows.length - 1].map(([, down]) => down)) + 2;
  const bottom = base + up5(clamp(last, 10, Math.max(25, up5(2.5 * usual))));
  const panels = [];
  rows.forEach((row, r) => {
    const share = seconds / row.leads.length;
    const high = r === 0 ? top : (bases[r - 1] + bases[r]) / 2;
    const low = r === rows.length - 1 ? bottom : (bases[r] + bases[r + 1]) / 2;
    row.leads.forEach((name, column) => {
      panels.push({
        name, column, row: r, rhythm: row.rhythm, origin: leads.get(name).origin,
        t0: column * share, t1: (column + 1) * share, base: bases[r], gain: gainOf(name),
        top: high, bottom: low,
      });
    });
  });
  return {
    speed, seconds, left, width, height: up5(bottom + FOOT_MM), bottom, named, panels, pulseMm,
    x: (t) => left + t * speed, t: (x) => (x - left) / speed,
  };
}

const yOf = (panel, mv) => panel.base - mv * panel.gain;
const mvOf = (panel, y) => (panel.base - y) / panel.gain;

// The panel under a point of the page, or the nearest one.
function panelAt(page, x, y) {
  const t = clamp(page.t(x), 0, page.seconds - 1e-6);
  const away = (p) => Math.max(p.top - y, y - p.bottom, 0) + 1000 * (t < p.t0 || t >= p.t1);
  return page.panels.reduce((best, p) => (away(p) < away(best) ? p : best));
}

// The highest or lowest point of a trace near a time, between samples: seconds and mV.
function peakNear(lead, fs, t, nearS) {
  const { mv } = lead;
  const middle = Math.round(t * fs);
  let best = null;
  for (let i = Math.max(1, middle - Math.round(nearS * fs)); i <= Math.min(mv.length - 2, middle + Math.round(nearS * fs)); i += 1) {
    const [a, b, c] = [mv[i - 1], mv[i], mv[i + 1]];
    if ((b >= a && b > c) || (b <= a && b < c)) {
      const bend = a - 2 * b + c;
      const off = bend === 0 ? 0 : clamp((0.5 * (a - c)) / bend, -0.5, 0.5);
      if (best === null || Math.abs(bend) > best.bend) {
        best = { t: (i + off) / fs, mv: b - 0.25 * (a - c) * off, bend: Math.abs(bend) };
      }
    }
  }
  return best;
}
