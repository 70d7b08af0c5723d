"use strict";

const $ = (id) => document.getElementById(id);
const canvas = $("picture");
const context = canvas.getContext("2d", { alpha: false });
const body = document.body;
const STEPS = { first: 500, last: 10000 }; // milliseconds between two tries to connect
const REST = 3500; // milliseconds without a touch until the controls fade

let socket = null;
let ended = false;
let pause = STEPS.first;
let split = null;
let serverMessage = "";

// The cookie does from here on; an address bar is seen by many.
history.replaceState(null, "", location.pathname);

/* ---- connection ---- */

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  let drawing = Promise.resolve();
  const own = socket;
  socket.onopen = () => { pause = STEPS.first; notice("Waiting for the first picture\u2026"); };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") return hear(JSON.parse(data));
    // One after the other: decoding may overtake, the pictures must not.
    drawing = drawing.then(() => draw(data)).catch(() => {}).then(visible).then(() => send({ ack: true }, own));
  };
  socket.onclose = () => {
    if (ended) return;
    body.classList.add("lost");
    notice("Connection lost, trying again\u2026");
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, STEPS.last);
  };
}

function send(message, to = socket) {
  if (to && to.readyState === WebSocket.OPEN) to.send(JSON.stringify(message));
}

const press = (key) => send({ key });

async function draw(jpeg) {
  const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    placeLine();
  }
  context.drawImage(picture, 0, 0);
  picture.close();
  body.classList.remove("waiting", "lost");
  if (!ended) notice("");
}

// A page that nobody sees asks for nothing more.
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
}

function hear(message) {
  if (message.hello) greet(message.hello);
  if (message.controls) follow(message.controls, message.status);
  if (message.status) tell(message.status, message.controls);
  if (message.ended) {
    ended = true;
    body.classList.add("lost", "ended");
    notice("vidstyle has ended");
    hangUp();
  }
}

/* ---- what is told ---- */

function notice(text) {
  $("notice").hidden = !text;
  $("notice-text").textContent = text;
  if (text) wake();
}

let said = 0;
function say(text) {
  clearTimeout(said);
  $("message").textContent = text;
  said = setTimeout(() => { said = 0; $("message").textContent = serverMessage; }, 8000);
}

function tell(status, controls) {
  const numbers = [`${status.fps.toFixed(status.fps < 10 ? 1 : 0)} fps`];
  if (status.latency !== null) numbers.push(`${Math.round(1000 * status.latency)} ms`);
  if (status.height) numbers.push(`${status.height} p${controls.height === null ? " auto" : ""}`);
  $("numbers").textContent = numbers.join("  \u00b7  ");
  $("words").textContent = controls.words;
  $("recording").hidden = status.recording === null;
  if (status.recording !== null) $("recorded").textContent = clock(status.recording);
  if (status.message !== serverMessage) {
    serverMessage = status.message;
    if (!said || serverMessage) { clearTimeout(said); said = 0; $("message").textContent = serverMessage; }
  }
}

function clock(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/* ---- controls ---- */

function greet({ styles, keys }) {
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
  // The ring closes: past the last style comes the first again.
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

const HOLD = 600; // milliseconds for which a slider stays where it was moved to: it must not jump under the hand
const moved = {};
const waiting = {};
let state = null;
let later = 0;

function follow(controls, status) {
  state = [controls, status];
  split = controls.split;
  const shown = { ...controls, auto: controls.height === null, split: split !== null, recording: status.recording !== null };
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.setAttribute("aria-pressed", String(Boolean(shown[button.dataset.shows])));
  }
  [...$("styles").children].forEach((button, index) => {
    const share = controls.shares[index];
    button.style.setProperty("--share", share);
    if (share > 0.5 && !button.classList.contains("most")) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    button.classList.toggle("most", share > 0.5);
    button.setAttribute("aria-pressed", String(share > 0));
  });
  $("split-label").hidden = split === null;
  $("position").setAttribute("aria-valuetext", controls.words);
  for (const name of ["position", "strength", "split"]) {
    if (controls[name] !== null && !(performance.now() - moved[name] < HOLD)) $(name).value = controls[name];
    paint($(name));
  }
  body.classList.toggle("splitting", split !== null);
  placeLine();
}

function paint(slider) {
  const share = slider.value / slider.max;
  const output = $(`${slider.id}-value`);
  if (!output) return; // the cross-fade is a place between styles, not an amount
  slider.style.setProperty("--fill", `${100 * share}%`);
  output.textContent = `${Math.round(100 * share)}\u202f%`;
}

// At most one message a frame, with the last value.
function set(name, value) {
  moved[name] = performance.now();
  clearTimeout(later);
  later = setTimeout(() => { if (state) follow(...state); }, HOLD + 50);
  if (!(name in waiting)) requestAnimationFrame(() => { send({ set: name, value: waiting[name] }); delete waiting[name]; });
  waiting[name] = value;
}

for (const slider of document.querySelectorAll("input[type=range]")) {
  slider.oninput = () => { set(slider.id, Number(slider.value)); paint(slider); };
}
for (const button of document.querySelectorAll("[data-key]")) button.onclick = () => press(button.dataset.key);
// After a click the keys belong to the picture again; who came by Tab keeps the focus.
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

/* ---- the line between original and painting ---- */

function box() {
  const scale = Math.min(innerWidth / canvas.width, innerHeight / canvas.height);
  const width = canvas.width * scale;
  const height = canvas.height * scale;
  return { left: (innerWidth - width) / 2, top: (innerHeight - height) / 2, width, height };
}

function placeLine(share = split) {
  $("line").hidden = share === null;
  const { left, top, width, height } = box();
  Object.assign($("line").style, { left: `${left + width * (share || 0)}px`, top: `${top}px`, height: `${height}px` });
}
addEventListener("resize", () => placeLine());

let dragging = false;
function drag(event) {
  const { left, width } = box();
  const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
  split = share;
  set("split", share);
  $("split").value = share;
  paint($("split"));
  placeLine(share);
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
canvas.onclick = (event) => { if (event.pointerType === "touch" && !wasIdle && split === null) rest(); };

/* ---- controls that fade ---- */

let timer = 0;
function wake() {
  body.classList.remove("idle");
  clearTimeout(timer);
  timer = setTimeout(rest, REST);
}
function rest() {
  const held = $("help").open || dragging || !$("notice").hidden || $("dock").querySelector(":focus-visible")
    || (matchMedia("(hover: hover)").matches && $("dock").matches(":hover"));
  if (held) wake(); else body.classList.add("idle");
}
for (const kind of ["pointermove", "focusin"]) document.addEventListener(kind, wake);

wake();
connect();
