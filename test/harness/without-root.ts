/** Root may read and write everywhere, so it is somebody else meanwhile. */
export async function withoutRoot(work: () => Promise<void>): Promise<void> {
  const nobody = 65534;
  if (process.geteuid?.() !== 0) return await work();
  process.seteuid?.(nobody);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}
