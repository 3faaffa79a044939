/** What a test that failed has left open would keep the process running: it is closed at the end of the run. A mocha root hook. */

const open = new Set<() => Promise<void>>()

/** @param close harmless when it was called before */
export function closeAtTheEnd(close: () => Promise<void>): void {
  open.add(close)
}

export const mochaHooks = {
  afterAll: async (): Promise<void> => {
    await Promise.all([...open].map(async close => await close()))
  },
}
