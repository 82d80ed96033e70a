// A run with a program of its own: node program-child.ts PROGRAM ARGUMENT
// Prints the program's number, then "started", and waits for its end.
import { startProgram } from "../../src/postgres/child-program.ts";

const [program = "", argument = ""] = process.argv.slice(2);
const { PATH = "" } = process.env;
const child = startProgram(program, ["-c", `echo $$; exec ${argument}`], {
  env: { PATH },
  stdin: "pipe",
});
for await (const chunk of child.stdout) process.stdout.write(`${String(chunk).trim()}\nstarted\n`);
await child.done;
