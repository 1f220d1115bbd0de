// emulate listens on all interfaces, at a port that it is told; loaded before it, this gives it a socket that is open already.
const { Server } = require("node:net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (...said) {
  return listen.call(this, { fd: Number(process.env.LISTEN_FD) }, ...said.filter((one) => typeof one === "function"));
};
