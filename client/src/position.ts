// Positions are `<epoch>-<sequence>`. Within an epoch the sequence tells what came first; across epochs nothing does.

const FORM = /^(.+)-(\d+)$/;

/** Below 0: `a` comes before `b`; 0: the same; undefined: nothing is known, also of equal texts that are no positions. */
export function compare(a: string, b: string): number | undefined {
  const [, epoch, sequence] = FORM.exec(a) ?? [];
  const [, other, limit] = FORM.exec(b) ?? [];
  return epoch && epoch === other ? Number(sequence) - Number(limit) : undefined;
}

/** Whether who stands at `position` is known to have what came at `id`. */
export function covers(position: string, id: string): boolean {
  return (compare(id, position) ?? 1) <= 0;
}

/** Where a tab left off, kept over reloads: in sessionStorage, or nowhere if there is none. */
export class PositionStore {
  /** No key: nothing is kept. */
  constructor(private readonly key: string | undefined) {}

  load(): string {
    try {
      return (this.key && sessionStorage.getItem(this.key)) || "";
    } catch {
      return ""; // Node, or a page that may store nothing
    }
  }

  save(position: string): void {
    try {
      if (this.key) sessionStorage.setItem(this.key, position);
    } catch {
      // then a reload begins anew
    }
  }
}
