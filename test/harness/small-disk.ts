import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A disk of so many kilobytes for a while; where none can be mounted, the test is skipped and says why. */
export async function withSmallDisk(
  context: Pick<TestContext, "skip">,
  kilobytes: number,
  use: (disk: string) => Promise<void>,
): Promise<void> {
  const disk = await mkdtemp(join(tmpdir(), "pgtenant-disk-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${kilobytes}k`, "tmpfs", disk]);
  } catch (error) {
    await rm(disk, { recursive: true });
    context.skip(`no tmpfs can be mounted here: ${String(error).split("\n").at(-2)}`);
    return;
  }
  try {
    await use(disk);
  } finally {
    await run("umount", [disk]);
    await rm(disk, { recursive: true });
  }
}
