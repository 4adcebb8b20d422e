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
const FEW_LEADS = 6;
const APART_MM = 1;
const NEAR_S = 0.06;
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

// Of one second of many, the middle one: noise for a second or two, or one ectopic beat, does not
// move the rows of a page apart.
function usualExtremes(mv, first, last, fs) {
  const each = [];
  for (let i = first; i < last; i += fs) each.push(extremes(mv, i, Math.min(i + fs, last)));
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return [middle(each.map(([up]) => up)), middle(each.map(([, down]) => down))];
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

// Leads that were not recorded take no row of their own. Of half a dozen leads or fewer, columns of
// 2.5 s would be empty for the most part, so each lead there is gets all of the paper.
function rowsOf(settings, leads) {
  if (settings.layout === "single") return [{ leads: [settings.lead], rhythm: false }];
  const there = (name) => leads.get(name).origin !== "missing";
  const present = LEADS.filter(there);
  const few = present.length > 0 && present.length <= FEW_LEADS;
  const names = few ? present.map((lead) => [lead]) : ROWS[settings.layout];
  const rows = names.filter((row) => row.some(there)).map((row) => ({ leads: row, rhythm: false }));
  if (settings.layout === "3x4" && rows.length && !few) rows.push({ leads: [settings.lead], rhythm: true });
  return rows.length ? rows : [{ leads: [settings.lead], rhythm: false }];
}

// How far the traces of a row reach up and down in each quarter of its length, in mm.
function reachOf(row, all, gainOf, n, fs) {
  return [0, 1, 2, 3].map((q) => {
    const name = row.leads[Math.floor((q * row.leads.length) / 4)];
    const most = row.leads.length > 1 ? usualExtremes : extremes;
    const each = all.map((leads) => most(leads.get(name).mv, Math.floor((q * n) / 4), Math.floor(((q + 1) * n) / 4), fs));
    return [0, 1].map((side) => Math.max(...each.map((reach) => reach[side])) * gainOf(name));
  });
}

// How far the trace of a row lies above (1) or below (-1) its base at each sample, in mm; the most
// of it within NEAR_S, so that a cut is wider than the pen.
function heights(row, leads, gainOf, n, fs, sign) {
  const here = new Float32Array(n);
  for (let i = 0; i < n; i += 1) {
    const name = row.leads[Math.min(Math.floor((i * row.leads.length) / n), row.leads.length - 1)];
    const { mv } = leads.get(name);
    here[i] = mv && !Number.isNaN(mv[i]) ? Math.max(sign * mv[i] * gainOf(name), 0) : 0;
  }
  const reach = Math.round(NEAR_S * fs);
  return here.map((_, i) => {
    let most = 0;
    for (let k = Math.max(0, i - reach); k <= Math.min(n - 1, i + reach); k += 1) most = Math.max(most, here[k]);
    return most;
  });
}

// From where to where each row may be drawn at each sample, in mm of the page. Up to the middle
// between two rows always; beyond it as far as the other trace is away at that time. So complexes
// that go the same way are left whole, and a loose electrode hides no other lead.
function limitsOf(rows, leads, gainOf, bases, { n, fs, top, bottom }) {
  const up = rows.map((row) => heights(row, leads, gainOf, n, fs, 1));
  const down = rows.map((row) => heights(row, leads, gainOf, n, fs, -1));
  return rows.map((_, r) => {
    const high = new Float32Array(n).fill(top);
    const low = new Float32Array(n).fill(bottom);
    for (let i = 0; i < n; i += 1) {
      if (r > 0) high[i] = Math.min((bases[r - 1] + bases[r]) / 2, bases[r - 1] + down[r - 1][i] + APART_MM);
      if (r + 1 < rows.length) low[i] = Math.max((bases[r] + bases[r + 1]) / 2, bases[r + 1] - up[r + 1][i] - APART_MM);
    }
    return { high, low };
  });
}

// With another ECG under this one, rows are as far apart as both need.
function layOut(data, leads, settings, under = null) {
  const { speed, gain } = settings;
  const seconds = data.n / data.fs;
  const gains = new Map(LEADS.map((name) => [name, settings.fit ? fittingGain(leads.get(name).mv) : gain]));
  const gainOf = (name) => gains.get(name);
  const rows = rowsOf(settings, leads);
  const named = rows.every((row) => row.leads.length === 1);
  const pulseMm = PULSE_S * speed;
  const left = up5((named ? NAME_MM : 1) + pulseMm + 3);
  const width = up5(left + seconds * speed + 3);
  const all = under ? [leads, under] : [leads];
  const reach = rows.map((row) => reachOf(row, all, gainOf, data.n, data.fs));
  const usual = settings.fit ? 10 : gain;
  const empty = (row) => row.leads.every((name) => leads.get(name).origin === "missing");
  // Rows are as far apart as their complexes need, on whole large boxes, within limits: a loose
  // electrode must not stretch the page, and what reaches farther is cut off with a mark.
  const apart = (i) => {
    const need = Math.max(...[0, 1, 2, 3].map((q) => reach[i][q][1] + reach[i + 1][q][0])) + 2;
    const least = empty(rows[i]) || empty(rows[i + 1]) ? 10 : 15;
    return clamp(up5(need), least, Math.max(25, up5((named ? 2.5 : 3) * usual)));
  };
  const steps = rows.slice(1).map((_, i) => apart(i));
  // Rows of columns are equally far apart, as on print; closer on a quiet page, so that all of it
  // is seen at once.
  if (!named) steps.fill(clamp(Math.max(...steps), 20, Math.max(25, up5(3 * usual))));
  const top = settings.beats ? BEATS_MM : 0;
  const first = Math.max(...reach[0].map(([up]) => up)) + 3;
  let base = top + up5(clamp(first, 15, Math.max(25, up5(3 * usual))));
  const bases = [base, ...steps.map((step) => (base += step))];
  const last = Math.max(...reach[rows.length - 1].map(([, down]) => down)) + 2;
  const bottom = base + up5(clamp(last, 10, Math.max(25, up5(2.5 * usual))));
  const limits = limitsOf(rows, leads, gainOf, bases, { n: data.n, fs: data.fs, top, bottom });
  const panels = [];
  rows.forEach((row, r) => {
    const share = seconds / row.leads.length;
    const high = r === 0 ? top : (bases[r - 1] + bases[r]) / 2;
    const low = r === rows.length - 1 ? bottom : (bases[r] + bases[r + 1]) / 2;
    row.leads.forEach((name, column) => {
      panels.push({
        name, column, row: r, rhythm: row.rhythm, origin: leads.get(name).origin,
        t0: column * share, t1: (column + 1) * share, base: bases[r], gain: gainOf(name),
        top: high, bottom: low, limits: limits[r],
      });
    });
  });
  // Those that this layout leaves out; a lead that is shown empty says so in its place.
  const absent = LEADS.filter((name) => leads.get(name).origin === "missing" && !panels.some((p) => p.name === name));
  return {
    absent, speed, seconds, left, width, height: up5(bottom + FOOT_MM), bottom, named, panels, pulseMm,
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
