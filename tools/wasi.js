// Runs a WASI program: node tools/wasi.js PROGRAM.wasm
const { WASI } = require("wasi"), wasi = new WASI({ version: "preview1" })
WebAssembly.instantiate(require("fs").readFileSync(process.argv[2]), wasi.getImportObject())
    .then(({ instance }) => wasi.start(instance))
