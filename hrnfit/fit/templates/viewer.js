"use strict";
// The mesh viewer: plain WebGL, light fixed to the camera, data in the head frame (mm, y up, z out).
(function () {
  const data = JSON.parse(document.getElementById("mesh-data").textContent);
  const canvas = document.getElementById("stage");
  const gl = canvas.getContext("webgl", { antialias: true, alpha: true, premultipliedAlpha: false,
    preserveDrawingBuffer: true });
  const box = document.getElementById("viewer");
  if (!gl || !gl.getExtension("OES_element_index_uint")) {
    canvas.hidden = true;
    box.querySelector(".bar").hidden = true;
    document.getElementById("nogl").hidden = false;
    return;
  }

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;

  // Positions: 16 bits across the bounding box. Normals: octahedral, 16 bits per axis.
  function positions(text, low, step) {
    const codes = new Uint16Array(bytes(text));
    const out = new Float32Array(codes.length);
    for (let i = 0; i < codes.length; i++) out[i] = low[i % 3] + codes[i] * step;
    return out;
  }
  function normals(text) {
    const codes = new Int16Array(bytes(text));
    const out = new Float32Array((codes.length / 2) * 3);
    for (let i = 0, o = 0; i < codes.length; i += 2, o += 3) {
      let x = codes[i] / 32767, y = codes[i + 1] / 32767;
      const z = 1 - Math.abs(x) - Math.abs(y);
      if (z < 0) {
        const t = x;
        x = (1 - Math.abs(y)) * (t < 0 ? -1 : 1);
        y = (1 - Math.abs(t)) * (y < 0 ? -1 : 1);
      }
      const length = Math.hypot(x, y, z) || 1;
      out[o] = x / length; out[o + 1] = y / length; out[o + 2] = z / length;
    }
    return out;
  }
  function upload(target, array) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, array, gl.STATIC_DRAW);
    return buffer;
  }

  const topologies = data.topologies.map((t) => {
    const wide = t.index_bytes === 4;
    const index = wide ? new Uint32Array(bytes(t.index)) : new Uint16Array(bytes(t.index));
    const codes = new Uint16Array(bytes(t.uv));
    const uv = Float32Array.from(codes, (c) => c / 65535);
    return { count: index.length, type: wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT,
      index: upload(gl.ELEMENT_ARRAY_BUFFER, index), uv: upload(gl.ARRAY_BUFFER, uv) };
  });
  const levels = {};
  for (const [name, level] of Object.entries(data.levels)) {
    levels[name] = { topology: topologies[level.topology], info: level.info,
      position: upload(gl.ARRAY_BUFFER, positions(level.position, level.low, level.step)),
      normal: upload(gl.ARRAY_BUFFER, normals(level.normal)) };
  }

  const VERTEX = `
    attribute vec3 position; attribute vec3 normal; attribute vec2 uv;
    uniform mat4 projection; uniform mat3 turn; uniform vec3 centre; uniform vec3 shift;
    varying vec3 n; varying vec2 st; varying vec3 eye;
    void main() {
      vec3 p = turn * (position - centre) + shift;
      n = turn * normal; st = uv; eye = -p;
      gl_Position = projection * vec4(p, 1.0);
    }`;
  const FRAGMENT = `
    precision highp float;
    varying vec3 n; varying vec2 st; varying vec3 eye;
    uniform int shading; uniform sampler2D albedo;
    vec3 lamp(vec3 m, vec3 v, vec3 d, vec3 colour, float gloss) {
      vec3 l = normalize(d);
      float s = pow(max(dot(m, normalize(l + v)), 0.0), 22.0);
      return colour * max(dot(m, l), 0.0) + vec3(gloss * s);
    }
    void main() {
      vec3 m = normalize(n), v = normalize(eye);
      float side = gl_FrontFacing ? 1.0 : -1.0;
      m *= side;
      if (shading == 2) { gl_FragColor = vec4(0.5 + 0.5 * m, 1.0); return; }
      vec3 base = vec3(0.60, 0.585, 0.57);
      float gloss = 0.16;
      if (shading == 1) { base = pow(texture2D(albedo, st).rgb, vec3(2.2)); gloss = 0.05; }
      if (side < 0.0) { base *= 0.35; gloss = 0.0; }
      vec3 light = vec3(shading == 1 ? 0.34 : 0.13)
        + lamp(m, v, vec3(-0.55, 0.65, 0.75), vec3(0.88, 0.86, 0.83), gloss)
        + lamp(m, v, vec3(0.9, 0.1, 0.55), vec3(0.25, 0.28, 0.33), 0.3 * gloss)
        + lamp(m, v, vec3(0.1, -0.9, 0.4), vec3(0.10), 0.0);
      gl_FragColor = vec4(pow(clamp(base * light, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
    }`;
  function compile(type, source) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    return shader;
  }
  const program = gl.createProgram();
  gl.attachShader(program, compile(gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compile(gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const attribute = (name) => gl.getAttribLocation(program, name);

  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, 1, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, new Uint8Array([150, 120, 100]));
  const image = new Image();
  image.onload = () => {
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    draw();
  };
  image.src = data.texture;

  const FOV = 26 * Math.PI / 180;
  const home = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };
  let pose = Object.assign({}, home), level = "fine", shading = "clay", asked = false;

  function draw() { if (!asked) { asked = true; requestAnimationFrame(paint); } }
  function paint() {
    asked = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const aspect = width / height, f = 1 / Math.tan(FOV / 2);
    const distance = data.radius * f * (aspect < 0.8 ? 0.8 / aspect : 1) * 1.02 / pose.zoom;
    const near = Math.max(distance - 2 * data.radius, 1), far = distance + 2 * data.radius;
    gl.uniformMatrix4fv(uniform("projection"), false, [f / aspect, 0, 0, 0, 0, f, 0, 0,
      0, 0, (near + far) / (near - far), -1, 0, 0, 2 * near * far / (near - far), 0]);
    const cy = Math.cos(pose.yaw), sy = Math.sin(pose.yaw), cp = Math.cos(pose.pitch), sp = Math.sin(pose.pitch);
    // turn = R_x(pitch) R_y(yaw), column-major
    gl.uniformMatrix3fv(uniform("turn"), false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
    gl.uniform3fv(uniform("centre"), data.centre);
    gl.uniform3f(uniform("shift"), pose.x, pose.y, -distance);
    gl.uniform1i(uniform("shading"), { clay: 0, texture: 1, normal: 2 }[shading]);
    const mesh = levels[level];
    for (const [name, buffer, size] of [["position", mesh.position, 3], ["normal", mesh.normal, 3],
      ["uv", mesh.topology.uv, 2]]) {
      const where = attribute(name);
      if (where < 0) continue;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, size, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.topology.index);
    gl.drawElements(gl.TRIANGLES, mesh.topology.count, mesh.topology.type, 0);
    document.getElementById("meshinfo").textContent = mesh.info +
      " Drag to turn, wheel or pinch to zoom, shift-drag to move.";
  }

  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  function turnBy(dx, dy) {
    pose.yaw += dx; pose.pitch = clamp(pose.pitch + dy, -1.5, 1.5); draw();
  }
  function zoomBy(factor) { pose.zoom = clamp(pose.zoom * factor, 0.4, 12); draw(); }
  function moveBy(dx, dy) {
    const unit = 2 * data.radius / (pose.zoom * canvas.clientHeight);
    pose.x += dx * unit; pose.y -= dy * unit; draw();
  }

  const pointers = new Map();
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    pointers.set(e.pointerId, [e.clientX, e.clientY]);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (e) => pointers.delete(e.pointerId));
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("pointermove", (e) => {
    const before = pointers.get(e.pointerId);
    if (!before) return;
    const dx = e.clientX - before[0], dy = e.clientY - before[1];
    if (pointers.size === 2) {
      const other = [...pointers.entries()].find(([id]) => id !== e.pointerId)[1];
      const span = (x, y) => Math.hypot(x - other[0], y - other[1]) || 1;
      zoomBy(span(e.clientX, e.clientY) / span(before[0], before[1]));
      moveBy(dx / 2, dy / 2);
    } else if (e.shiftKey || e.buttons === 2) moveBy(dx, dy);
    else turnBy(dx * 0.008, dy * 0.008);
    pointers.set(e.pointerId, [e.clientX, e.clientY]);
    stopTurning();
  });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoomBy(Math.exp(-e.deltaY * 0.0012)); },
    { passive: false });
  canvas.addEventListener("dblclick", reset);

  function choose(group, value) {
    const input = box.querySelector(`input[name="` + group + `"][value="` + value + `"]`);
    if (input) { input.checked = true; pick(); }
  }
  function pick() {
    level = box.querySelector(`input[name="level"]:checked`).value;
    shading = box.querySelector(`input[name="shading"]:checked`).value;
    draw();
  }
  const keys = {
    ArrowLeft: () => turnBy(-0.12, 0), ArrowRight: () => turnBy(0.12, 0),
    ArrowUp: () => turnBy(0, -0.12), ArrowDown: () => turnBy(0, 0.12),
    "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15), 0: reset,
    1: () => choose("level", "coarse"), 2: () => choose("level", "mid"), 3: () => choose("level", "fine"),
    c: () => choose("shading", "clay"), t: () => choose("shading", "texture"), n: () => choose("shading", "normal"),
  };
  canvas.addEventListener("keydown", (e) => {
    if (keys[e.key] && !e.ctrlKey && !e.metaKey) { e.preventDefault(); keys[e.key](); }
  });
  for (const input of box.querySelectorAll("fieldset input")) input.addEventListener("change", pick);

  const from = document.getElementById("from");
  for (const [i, seat] of data.seats.entries()) from.add(new Option(seat.name, String(i)));
  from.addEventListener("change", () => {
    stopTurning();
    pose = Object.assign({}, home, { yaw: data.seats[from.value].yaw, pitch: data.seats[from.value].pitch });
    draw();
  });
  function reset() { stopTurning(); pose = Object.assign({}, home); from.value = "0"; draw(); }
  document.getElementById("reset").addEventListener("click", reset);

  const spin = document.getElementById("spin");
  let last = 0;
  function stopTurning() { spin.checked = false; }
  function step(now) {
    if (!spin.checked) return;
    turnBy(Math.min(now - last, 100) * 0.0006, 0);
    last = now;
    requestAnimationFrame(step);
  }
  spin.addEventListener("change", () => { last = performance.now(); requestAnimationFrame(step); });

  new ResizeObserver(draw).observe(canvas);
  draw();
})();
