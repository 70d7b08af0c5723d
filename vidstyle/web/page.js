"use strict";

const $ = (id) => document.getElementById(id);
const canvas = $("image");
const context = canvas.getContext("2d", { alpha: false });
const body = document.body;
const RETRY = { first: 500, last: 10000 }; // milliseconds between two attempts to connect
const IDLE = 3500; // milliseconds without input until the controls fade

let socket = null;
let ended = false;
let pause = RETRY.first;
let split = null;
let serverMessage = "";

// The cookie replaces the token, which should not be visible in the address bar.
history.replaceState(null, "", location.pathname);

/* ---- connection ---- */

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  let drawing = Promise.resolve();
  const own = socket;
  socket.onopen = () => { pause = RETRY.first; notice("Waiting for the first image\u2026"); };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") return receive(JSON.parse(data));
    // One after the other, because a later image may be decoded first.
    drawing = drawing.then(() => draw(data)).catch(() => {}).then(visible).then(() => send({ ack: true }, own));
  };
  socket.onclose = () => {
    if (ended) return;
    body.classList.add("lost");
    notice("Connection lost, trying again\u2026");
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, RETRY.last);
  };
}

function send(message, to = socket) {
  if (to && to.readyState === WebSocket.OPEN) to.send(JSON.stringify(message));
}

const press = (key) => send({ key });

async function draw(jpeg) {
  const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
    placeLine();
  }
  context.drawImage(image, 0, 0);
  image.close();
  body.classList.remove("waiting", "lost");
  if (!ended) notice("");
}

// A hidden page requests no more images.
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
}

function receive(message) {
  if (message.hello) setUp(message.hello);
  if (message.state) showState(message.state, message.status);
  if (message.status) showStatus(message.status, message.state);
  if (message.ended) {
    ended = true;
    body.classList.add("lost", "ended");
    notice("vidstyle has ended");
    stopCamera();
  }
}

/* ---- status and messages ---- */

function notice(text) {
  $("notice").hidden = !text;
  $("notice-text").textContent = text;
  if (text) wake();
}

let messageTimer = 0;
function showMessage(text) {
  clearTimeout(messageTimer);
  $("message").textContent = text;
  messageTimer = setTimeout(() => { messageTimer = 0; $("message").textContent = serverMessage; }, 8000);
}

function showStatus(status, state) {
  const numbers = [`${status.fps.toFixed(status.fps < 10 ? 1 : 0)} fps`];
  if (status.latency !== null) numbers.push(`${Math.round(1000 * status.latency)} ms`);
  if (status.height) numbers.push(`${status.height} p${state.height === null ? " auto" : ""}`);
  $("numbers").textContent = numbers.join("  \u00b7  ");
  $("description").textContent = state.description;
  $("recording").hidden = status.recording === null;
  if (status.recording !== null) $("recorded").textContent = clock(status.recording);
  if (status.message !== serverMessage) {
    serverMessage = status.message;
    if (!messageTimer || serverMessage) { clearTimeout(messageTimer); messageTimer = 0; $("message").textContent = serverMessage; }
  }
}

function clock(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/* ---- controls ---- */

function setUp({ styles, keys }) {
  $("styles").replaceChildren(...styles.map((name, index) => {
    const button = document.createElement("button");
    const number = document.createElement("i");
    number.textContent = index + 1;
    button.type = "button";
    button.append(number, name);
    button.setAttribute("aria-label", `Style ${index + 1}: ${name}`);
    button.setAttribute("aria-pressed", "false");
    button.onclick = () => send({ set: "position", value: index });
    return button;
  }));
  // The styles form a ring: after the last one comes the first.
  $("position").max = Math.max(0.05, styles.length - 0.05).toFixed(2);
  $("position-label").hidden = styles.length < 2;
  $("keys").replaceChildren(...keys.flatMap(([names, meaning]) => {
    const term = document.createElement("dt");
    for (const name of names.split(/[ ,]+/)) {
      const key = document.createElement("kbd");
      key.textContent = { left: "\u2190", right: "\u2192", up: "\u2191", down: "\u2193" }[name] || name;
      term.append(key);
    }
    const explanation = document.createElement("dd");
    explanation.textContent = meaning;
    return [term, explanation];
  }));
}

const HOLD = 600; // milliseconds for which the server does not move a slider that the user has moved
const movedAt = {};
const pending = {};
let last = null;
let holdTimer = 0;

function showState(state, status) {
  last = [state, status];
  split = state.split;
  const shown = { ...state, auto: state.height === null, split: split !== null, recording: status.recording !== null };
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.setAttribute("aria-pressed", String(Boolean(shown[button.dataset.shows])));
  }
  [...$("styles").children].forEach((button, index) => {
    const weight = state.weights[index];
    button.style.setProperty("--weight", weight);
    if (weight > 0.5 && !button.classList.contains("most")) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    button.classList.toggle("most", weight > 0.5);
    button.setAttribute("aria-pressed", String(weight > 0));
  });
  $("split-label").hidden = split === null;
  $("position").setAttribute("aria-valuetext", state.description);
  for (const name of ["position", "strength", "split"]) {
    if (state[name] !== null && !(performance.now() - movedAt[name] < HOLD)) $(name).value = state[name];
    updateSlider($(name));
  }
  body.classList.toggle("splitting", split !== null);
  placeLine();
}

function updateSlider(slider) {
  const fraction = slider.value / slider.max;
  const output = $(`${slider.id}-value`);
  if (!output) return; // the cross-fade is a position between styles, not an amount
  slider.style.setProperty("--fill", `${100 * fraction}%`);
  output.textContent = `${Math.round(100 * fraction)}\u202f%`;
}

// At most one message per frame, with the last value.
function set(name, value) {
  movedAt[name] = performance.now();
  clearTimeout(holdTimer);
  holdTimer = setTimeout(() => { if (last) showState(...last); }, HOLD + 50);
  if (!(name in pending)) requestAnimationFrame(() => { send({ set: name, value: pending[name] }); delete pending[name]; });
  pending[name] = value;
}

for (const slider of document.querySelectorAll("input[type=range]")) {
  slider.oninput = () => { set(slider.id, Number(slider.value)); updateSlider(slider); };
}
for (const button of document.querySelectorAll("[data-key]")) button.onclick = () => press(button.dataset.key);
// After a click, keys act on the image again; with Tab the focus stays.
document.addEventListener("pointerup", () => setTimeout(() => {
  if (document.activeElement !== body && !$("help").open) document.activeElement.blur();
}));

/* ---- keys ---- */

const NAMED = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", " ": "space" };
const REPEATS = ["up", "down", "left", "right", "+", "=", "-"];

document.addEventListener("keydown", (event) => {
  wake();
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  if (target.matches("input") && event.key.startsWith("Arrow")) return;
  if (target.matches("button") && event.key === " ") return;
  const key = NAMED[event.key] || event.key.toLowerCase();
  if (event.repeat && !REPEATS.includes(key)) return;
  if (key === "h") toggleHelp();
  else if (key === "f") toggleFull();
  else if (key in { up: 1, down: 1, left: 1, right: 1, space: 1 } || /^[npcmosrq+=\-0-9]$/.test(key)) press(key);
  else return;
  event.preventDefault();
});

function toggleHelp() {
  if ($("help").open) $("help").close(); else $("help").showModal();
}
$("help-button").onclick = toggleHelp;
$("help").onclick = (event) => { if (event.target === $("help")) $("help").close(); };

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.fullscreenEnabled) document.documentElement.requestFullscreen().catch(() => {});
}
$("full").onclick = toggleFull;
$("full").hidden = !document.fullscreenEnabled;
document.addEventListener("fullscreenchange", () => $("full").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement))));

/* ---- the line between original and stylized image ---- */

function box() {
  const scale = Math.min(innerWidth / canvas.width, innerHeight / canvas.height);
  const width = canvas.width * scale;
  const height = canvas.height * scale;
  return { left: (innerWidth - width) / 2, top: (innerHeight - height) / 2, width, height };
}

function placeLine(position = split) {
  $("line").hidden = position === null;
  const { left, top, width, height } = box();
  Object.assign($("line").style, { left: `${left + width * (position || 0)}px`, top: `${top}px`, height: `${height}px` });
}
addEventListener("resize", () => placeLine());

let dragging = false;
function drag(event) {
  const { left, width } = box();
  const position = Math.min(1, Math.max(0, (event.clientX - left) / width));
  split = position;
  set("split", position);
  $("split").value = position;
  updateSlider($("split"));
  placeLine(position);
}
let wasIdle = false;
document.addEventListener("pointerdown", () => { wasIdle = body.classList.contains("idle"); wake(); }, { capture: true });
canvas.onpointerdown = (event) => {
  if (split === null || event.button !== 0) return;
  dragging = true;
  canvas.setPointerCapture(event.pointerId);
  drag(event);
};
canvas.onpointermove = (event) => { if (dragging) drag(event); };
canvas.onlostpointercapture = () => { dragging = false; };
canvas.onclick = (event) => { if (event.pointerType === "touch" && !wasIdle && split === null) idle(); };

/* ---- controls that fade ---- */

let idleTimer = 0;
function wake() {
  body.classList.remove("idle");
  clearTimeout(idleTimer);
  idleTimer = setTimeout(idle, IDLE);
}
function idle() {
  const busy = $("help").open || dragging || !$("notice").hidden || $("dock").querySelector(":focus-visible")
    || (matchMedia("(hover: hover)").matches && $("dock").matches(":hover"));
  if (busy) wake(); else body.classList.add("idle");
}
for (const kind of ["pointermove", "focusin"]) document.addEventListener(kind, wake);

wake();
connect();
