"use strict";

// This browser's camera, over WebRTC to vidstyle. Shares its scope with page.js, which comes first.

let peer = null;
let stream = null;

function webcam(state) {
  $("webcam").setAttribute("aria-pressed", String(state === "on"));
  $("webcam").setAttribute("aria-busy", String(state === "starting"));
}

function hangUp(reason = "") {
  if (!peer && !stream) return;
  if (peer) { peer.onconnectionstatechange = null; peer.close(); }
  if (stream) for (const track of stream.getTracks()) track.stop();
  peer = stream = null;
  webcam("off");
  if (reason) say(reason);
}

async function callUp() {
  if (!navigator.mediaDevices) {
    return say("A browser lends its camera only to pages under https or localhost: open this one through ssh -L.");
  }
  webcam("starting");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } });
  } catch (error) {
    webcam("off");
    return say(`The browser did not lend its camera: ${error.message || error.name}.`);
  }
  try {
    await offer();
  } catch (error) {
    hangUp(`The camera could not be connected: ${error.message}`);
  }
}

async function offer() {
  const own = peer = new RTCPeerConnection({ iceServers: [] });
  const [track] = stream.getVideoTracks();
  track.onended = () => hangUp("The camera has been taken away.");
  peer.addTrack(track, stream);
  let connected = false;
  peer.onconnectionstatechange = () => {
    if (own.connectionState === "connected") { connected = true; webcam("on"); }
    if (own.connectionState === "failed") {
      hangUp(connected ? "The camera's connection has ended."
        : "The camera's pictures do not reach vidstyle: they need a direct way (UDP) to its machine.");
    }
    if (own.connectionState === "closed") hangUp("The camera's connection has ended.");
  };
  await peer.setLocalDescription();
  await gathered(own);
  const response = await fetch("camera", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ sdp: own.localDescription.sdp }),
  });
  if (!response.ok) throw new Error(await response.text());
  await own.setRemoteDescription(await response.json());
}

function gathered(connection) {
  return new Promise((done) => {
    const check = () => { if (connection.iceGatheringState === "complete") done(); };
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(done, 2000);
    check();
  });
}

$("webcam").onclick = () => { if (peer || stream) hangUp(); else callUp(); };
addEventListener("pagehide", () => hangUp());
