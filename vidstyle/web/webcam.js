"use strict";

// This browser's camera, over WebRTC to vidstyle. Shares its scope with page.js, which comes first.

const PATIENCE = 4000; // milliseconds for WebRTC to find a way

let peer = null;
let stream = null;
let relaying = null;

function webcam(state) {
  $("webcam").setAttribute("aria-pressed", String(state === "on"));
  $("webcam").setAttribute("aria-busy", String(state === "starting"));
}

function hangUp(reason = "") {
  if (!peer && !stream) return;
  if (relaying) { relaying.onclose = null; relaying.close(); }
  if (peer) { peer.onconnectionstatechange = null; peer.close(); }
  if (stream) for (const track of stream.getTracks()) track.stop();
  peer = stream = relaying = null;
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
  const otherwise = () => { if (peer === own && !connected) relay().catch((error) => hangUp(`The camera could not be connected: ${error.message}`)); };
  peer.onconnectionstatechange = () => {
    if (own.connectionState === "connected") { connected = true; webcam("on"); }
    if (own.connectionState === "failed") { if (connected) hangUp("The camera's connection has ended."); else otherwise(); }
    if (own.connectionState === "closed") hangUp("The camera's connection has ended.");
  };
  await peer.setLocalDescription();
  await gathered(own);
  const response = await fetch("camera", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ sdp: own.localDescription.sdp }),
  });
  if (!response.ok) throw new Error(await response.text());
  await own.setRemoteDescription(await response.json());
  setTimeout(otherwise, PATIENCE);
}

// WebRTC wants a direct way for UDP, which an SSH tunnel is not: then pictures go where the page came from, one at a time.
async function relay() {
  peer.onconnectionstatechange = null;
  peer.close();
  peer = null;
  const lent = stream;
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = stream;
  await video.play();
  if (stream !== lent) return; // hung up meanwhile
  const own = relaying = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/relay`);
  const small = document.createElement("canvas");
  const next = () => {
    if (relaying !== own) return;
    const scale = Math.min(1, 640 / video.videoWidth);
    small.width = Math.round(video.videoWidth * scale);
    small.height = Math.round(video.videoHeight * scale);
    small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
    small.toBlob((jpeg) => { if (jpeg && own.readyState === WebSocket.OPEN) own.send(jpeg); }, "image/jpeg", 0.85);
  };
  own.onopen = () => { webcam("on"); video.requestVideoFrameCallback(next); };
  own.onmessage = () => video.requestVideoFrameCallback(next);
  own.onclose = () => hangUp("The camera's connection has ended.");
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
