// Draws the answers of POST /forecast and GET /example. Texts of a server or a file are set as text
// only, never as HTML.

const NAMES = {
  lstm: "LSTM", xlstm: "xLSTM", ridge: "ridge",
  historical_average: "historical average", seasonal_naive: "seasonal naive",
  persistence: "persistence",
};
const MINUTE = 60e3;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

const shown = { models: [], answer: null, body: null, token: null, points: [], at: -1, asked: 0 };

// --- asking ------------------------------------------------------------------------------------

async function ask(path, body) {
  const headers = shown.token ? { Authorization: `Bearer ${shown.token}` } : {};
  const how = body ? { method: "POST", body, headers: { ...headers, "Content-Type": kindOf(body) } } : { headers };
  let response;
  try {
    response = await fetch(path, how);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const found = await response.json().catch(() => ({}));
  if (response.status === 401) {
    $("sign-in").hidden = false;
    $("token").focus();
    throw new Error(shown.token ? "This is not the token." : "");
  }
  if (!response.ok) throw new Error(found.detail ?? `The server answered with status ${response.status}.`);
  return found;
}

const kindOf = (text) => (/^\s*[[{]/.test(text) ? "application/json" : "text/csv");

function say(problem) {
  $("problem").textContent = problem;
  $("problem").hidden = !problem;
}

// The forecast of the rows that were sent, of the comparison's data before that.
async function load() {
  const number = ++shown.asked;
  const query = `?model=${encodeURIComponent($("experiment").value)}`;
  document.querySelector("figure").setAttribute("aria-busy", "true");
  $("send").disabled = true;
  try {
    const answer = await ask(shown.body ? `forecast${query}` : `example${query}`, shown.body);
    if (number !== shown.asked) return; // another one was asked for since
    shown.answer = answer;
    say("");
    offer();
    draw();
  } catch (error) {
    if (number === shown.asked) say(error.message);
  } finally {
    if (number === shown.asked) {
      document.querySelector("figure").setAttribute("aria-busy", "false");
      $("send").disabled = false;
    }
  }
}

async function start() {
  try {
    shown.models = await ask("models");
  } catch (error) {
    $("lead").textContent = "";
    say(error.message);
    return;
  }
  $("sign-in").hidden = true;
  $("content").hidden = false;
  fill($("experiment"), shown.models.map((model) => model.name));
  await load();
}

const described = () => shown.models.find((model) => model.name === $("experiment").value);

// --- choosing ----------------------------------------------------------------------------------

function fill(select, values, label = (value) => value) {
  const before = select.value;
  select.replaceChildren(...values.map((value) => new Option(label(value), value)));
  if (values.includes(before)) select.value = before;
}

function offer() {
  const of = (key) => [...new Set(shown.answer.forecasts.map((one) => one[key]))];
  const units = Object.fromEntries(shown.answer.forecasts.map((one) => [one.feature, one.unit]));
  fill($("detector"), of("vdid"));
  fill($("feature"), of("feature"), (name) => withUnit(name, units[name]));
  fill($("model"), of("model"), (name) => NAMES[name] ?? name);
}

const withUnit = (name, unit) => (unit ? `${name} (${unit})` : name);

function chosen() {
  const [vdid, feature, model] = ["detector", "feature", "model"].map((id) => $(id).value);
  const of = (one) => one.vdid === vdid && one.feature === feature;
  return {
    forecast: shown.answer.forecasts.find((one) => of(one) && one.model === model),
    measured: shown.answer.measured.series.find(of),
  };
}

// --- words -------------------------------------------------------------------------------------

// Time stamps are on the clock of the rows, whatever that of the reader is.
const milliseconds = (stamp) => Date.parse(`${stamp.slice(0, 19)}Z`);
const clock = (ms) => new Date(ms).toISOString().slice(11, 16);
const day = (ms) =>
  new Date(ms).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const offsetOf = (stamp) => (stamp.length > 19 ? ` (UTC${stamp.slice(19)})` : "");

// With as many decimals as the larger numbers beside it need for three digits.
function number(value, largest = Math.abs(value)) {
  if (value === null || value === undefined) return "–";
  const decimals = largest >= 1000 ? 0 : largest >= 10 ? 1 : largest >= 1 ? 2 : 3;
  return value.toFixed(decimals).replace("-", "−");
}

function describe() {
  const { answer } = shown, { forecast } = chosen(), model = described();
  const reach = answer.interval_minutes * answer.horizons.at(-1);
  const ahead = reach <= 120 ? `${reach} min` : `${+(reach / 60).toFixed(1)} h`;
  const origin = milliseconds(answer.origin);
  const source = shown.body ? "Your rows end" : `No rows were sent yet: these are the last of ${model.source}, which end`;
  $("question").textContent = `What does ${NAMES[forecast.model]} expect in the next ${ahead}?`;
  $("lead").textContent = `${source} on ${day(origin)} ${answer.origin.slice(0, 4)} at ${clock(origin)}${offsetOf(answer.origin)}.`;
  $("caption").textContent = `${forecast.vdid} · ${withUnit(forecast.feature, forecast.unit)}`;
  $("reset").hidden = !shown.body;
  const columns = model.features.map((one) => one.name);
  $("wanted").replaceChildren(
    `A row per time and detector, with the columns `, code(["timestamp", "vdid", ...columns].join(",")),
    `: at least ${model.window_steps} steps of ${model.interval_minutes} min, better a day. Values in `,
    `${model.features.map((one) => `${one.name} ${one.unit}`.trim()).join(", ")}.`,
  );
  $("text").placeholder = [
    ["timestamp", "vdid", ...columns].join(","),
    [answer.origin, model.vdids[0], ...columns.map(() => "…")].join(","),
  ].join("\n");
  const raised = [...new Set(forecast.flags.flat())].map((name) => answer.flags[name]);
  const words = [...raised, ...answer.notes].map((text) => text[0].toUpperCase() + text.slice(1) + ".");
  $("flags").replaceChildren(...words.map((text) => element("li", {}, text)));
  $("flags").hidden = !words.length;
  const bands = answer.levels.map((level, at) => {
    const kind = at === answer.levels.length - 1 ? "wide" : "narrow";
    return element("li", { class: `${forecast.model} ${kind}` }, `where ${level} % of the truths are to lie`);
  });
  const promised = model.promised_mae[forecast.feature]?.[forecast.model]?.at(-1);
  const error = promised == null ? [] :
    [element("li", { class: "plain" }, `mean error in the comparison, ${ahead} ahead: ${number(promised)} ${forecast.unit}`)];
  $("legend").replaceChildren(
    element("li", { class: "truth" }, "measured"),
    element("li", { class: forecast.model }, NAMES[forecast.model]), ...bands, ...error,
  );
  tabulate();
}

function tabulate() {
  const { answer } = shown, { forecast } = chosen();
  const largest = Math.max(...forecast.forecast);
  const head = ["time", withUnit("forecast", forecast.unit), ...answer.levels.map((level) => `${level} % interval`), "flags"];
  const rows = answer.times.map((time, at) => [
    clock(milliseconds(time)), number(forecast.forecast[at], largest),
    ...answer.levels.map((level) => ["lower", "upper"].map((end) => number(forecast[`${end}_${level}`][at], largest)).join(" to ")),
    forecast.flags[at].join(", "),
  ]);
  const cells = (kind, texts, scope) => texts.map((text) => element(kind, scope ? { scope } : {}, text));
  $("table").replaceChildren(
    element("thead", {}, element("tr", {}, ...cells("th", head, "col"))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells("td", row)))),
  );
}

// --- drawing -----------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}
const code = (text) => element("code", {}, text);
function part(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}
function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Round numbers from low to high, about so many.
function ticks(low, high, about) {
  const rough = (high - low) / about || 1, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((of) => of * size).find((of) => of >= rough);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, at) => +((first + at) * step).toPrecision(12));
}

function timeTicks(low, high, about) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080].map((of) => of * MINUTE);
  const step = steps.find((of) => (high - low) / of <= about) ?? steps.at(-1);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => (first + at) * step);
}

function draw() {
  if (!shown.answer) return;
  describe();
  const { answer } = shown, { forecast, measured } = chosen();
  const width = Math.max(300, $("chart").clientWidth), height = Math.round(Math.min(420, Math.max(260, width * 0.45)));
  const edge = { left: 46, right: 12, top: 26, bottom: 40 };
  const past = answer.measured.times.map((time, at) => ({ ms: milliseconds(time), value: measured.value[at] }));
  const levels = answer.levels.map(String);
  const ahead = answer.times.map((time, at) => ({
    ms: milliseconds(time), value: forecast.forecast[at], flags: forecast.flags[at],
    ends: levels.map((level) => [forecast[`lower_${level}`][at], forecast[`upper_${level}`][at]]),
  }));
  const values = [...past.map((one) => one.value), ...ahead.flatMap((one) => [one.value, ...one.ends.flat()])]
    .filter((value) => value !== null);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low >= 0 && low < 0.4 * high) low = 0;
  if (low === high) high = low + 1;
  const room = 0.06 * (high - low);
  high += room;
  if (low !== 0) low -= room;
  const begin = past[0].ms, end = ahead.at(-1).ms;
  const x = (ms) => edge.left + ((ms - begin) / (end - begin)) * (width - edge.left - edge.right);
  const y = (value) => height - edge.bottom - ((value - low) / (high - low)) * (height - edge.top - edge.bottom);
  const path = (points) => points.map(([ms, value], at) => `${at ? "L" : "M"}${x(ms).toFixed(1)},${y(value).toFixed(1)}`).join("");

  const chart = part("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: forecast.model });
  chart.append(part("title", {}, summary()));
  for (const value of ticks(low, high, height / 60)) {
    chart.append(
      part("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(value), y2: y(value) }),
      part("text", { class: "tick", x: edge.left - 8, y: y(value) + 4, "text-anchor": "end" }, `${value}`.replace("-", "−")),
    );
  }
  chart.append(part("text", { class: "unit", x: 0, y: 13 }, withUnit(forecast.feature, forecast.unit)));
  const base = height - edge.bottom;
  let before = "";
  for (const ms of timeTicks(begin, end, width / 75)) {
    const name = day(ms);
    chart.append(
      part("line", { class: "axis", x1: x(ms), x2: x(ms), y1: base, y2: base + 5 }),
      part("text", { class: "tick", x: x(ms), y: base + 19, "text-anchor": "middle" }, clock(ms)),
    );
    if (name !== before) {
      chart.append(part("text", { class: "tick", x: x(ms), y: base + 35, "text-anchor": before ? "middle" : "start" }, name));
    }
    before = name;
  }
  chart.append(part("line", { class: "axis", x1: edge.left, x2: width - edge.right, y1: base, y2: base }));

  const last = past.at(-1), start = last.value === null ? [] : [[last.ms, last.value]];
  levels.forEach((_, at) => {
    const known = ahead.filter((one) => one.ends[at].every((of) => of !== null));
    const upper = [...start, ...known.map((one) => [one.ms, one.ends[at][1]])];
    const lower = [...start, ...known.map((one) => [one.ms, one.ends[at][0]])];
    if (known.length) chart.append(part("path", { class: "band", d: `${path([...upper, ...lower.reverse()])}Z` }));
  });
  for (const run of runs(past)) {
    chart.append(
      run.length > 1
        ? part("path", { class: "measured", d: path(run) })
        : part("circle", { class: "alone", cx: x(run[0][0]), cy: y(run[0][1]), r: 2 }),
    );
  }
  chart.append(
    part("line", { class: "origin", x1: x(last.ms), x2: x(last.ms), y1: edge.top, y2: base }),
    part("path", { class: "forecast", d: path([...start, ...ahead.map((one) => [one.ms, one.value])]) }),
    ...ahead.map((one) => part("circle", { class: "dot", cx: x(one.ms), cy: y(one.value), r: 3 })),
    part("line", { class: "cursor", y1: edge.top, y2: base, visibility: "hidden" }),
  );
  shown.points = [...past, ...ahead].map((one) => ({ ...one, x: x(one.ms) }));
  shown.at = -1;
  $("readout").textContent = "";
  $("chart").replaceChildren(chart);
}

// Stretches without a missing value.
function runs(points) {
  const found = [[]];
  for (const { ms, value } of points) {
    if (value === null) found.push([]);
    else found.at(-1).push([ms, value]);
  }
  return found.filter((run) => run.length);
}

function summary() {
  const { answer } = shown, { forecast } = chosen();
  const ends = [0, answer.times.length - 1].map((at) => `${number(forecast.forecast[at])} at ${clock(milliseconds(answer.times[at]))}`);
  return `${forecast.feature} of ${forecast.vdid}: ${NAMES[forecast.model]} expects ${ends[0]} and ${ends[1]} ${forecast.unit}`;
}

// --- reading -----------------------------------------------------------------------------------

function read(at) {
  const point = shown.points[at], cursor = document.querySelector(".cursor"), { forecast } = chosen();
  if (!point) return;
  shown.at = at;
  cursor.setAttribute("x1", point.x);
  cursor.setAttribute("x2", point.x);
  cursor.setAttribute("visibility", "visible");
  const time = `${day(point.ms)} ${clock(point.ms)}`;
  if (!point.ends) {
    $("readout").textContent = `${time}: measured ${point.value === null ? "nothing" : `${number(point.value)} ${forecast.unit}`}`;
    return;
  }
  const ends = point.ends.map(([low, high], of) => `${shown.answer.levels[of]} %: ${number(low)} to ${number(high)}`);
  $("readout").textContent = `${time}: ${NAMES[forecast.model]} ${number(point.value)} ${forecast.unit} (${ends.join("; ")})`;
}

$("chart").addEventListener("pointermove", (event) => {
  const box = $("chart").getBoundingClientRect(), at = event.clientX - box.left;
  const distances = shown.points.map((point) => Math.abs(point.x - at));
  read(distances.indexOf(Math.min(...distances)));
});
$("chart").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: -1, ArrowRight: 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const origin = shown.answer ? shown.answer.measured.times.length - 1 : 0;
  const at = (shown.at < 0 ? origin : shown.at) + moves[event.key];
  read(Math.min(Math.max(at, 0), shown.points.length - 1));
});

// --- listening ---------------------------------------------------------------------------------

$("experiment").addEventListener("change", load);
for (const id of ["detector", "feature", "model"]) $(id).addEventListener("change", draw);
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  shown.token = $("token").value;
  start();
});
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (!file) return;
  $("file-name").textContent = file.name;
  shown.body = await file.text();
  $("file").value = ""; // so that the same file can be opened again
  load();
});
$("rows").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("text").value.trim()) {
    say("Paste rows, or open a file.");
    return;
  }
  shown.body = $("text").value;
  load();
});
$("reset").addEventListener("click", () => {
  shown.body = null;
  $("file-name").textContent = "";
  load();
});
$("about").addEventListener("click", (event) => {
  if (!shown.token) return;
  event.preventDefault(); // a link sends no token
  say("With a token, read the API with curl: see docs/serve.md.");
});
let drawn = 0;
new ResizeObserver(() => {
  const width = $("chart").clientWidth;
  if (width !== drawn) draw();
  drawn = width;
}).observe($("chart"));
start();
