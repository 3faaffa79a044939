import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { expect } from 'chai'

import { KubeError } from '../../../src/kube/client.ts'
import { createWorkQueue } from '../../../src/kube/work-queue.ts'
import type { Reconcile, WorkQueue, WorkQueueOptions } from '../../../src/kube/work-queue.ts'
import { createLog } from '../../../src/platform/log.ts'

/** A queue whose time stands still until `pass()`. */
function queueOf(reconcile: Reconcile, options: Partial<WorkQueueOptions> = {}): { readonly queue: WorkQueue; readonly pass: (ms: number) => Promise<void>; readonly nextMs: () => number | undefined; readonly log: () => string } {
  let nowMs = 0
  let logged = ''
  const timers = new Map<object, { readonly dueMs: number; readonly run: () => void }>()
  const queue = createWorkQueue({
    name: 'test',
    reconcile,
    clock: { now: () => nowMs, monotonic: () => nowMs },
    log: createLog({ level: 'info', write: line => void (logged += line), now: () => nowMs }),
    random: () => 1,
    after: (ms, run) => {
      const id = {}
      timers.set(id, { dueMs: nowMs + ms, run })
      return () => void timers.delete(id)
    },
    ...options,
  })
  const nextMs = (): number | undefined => [...timers.values()].map(({ dueMs }) => dueMs - nowMs).toSorted((a, b) => a - b)[0]
  const pass = async (ms: number): Promise<void> => {
    nowMs += ms
    for (const [id, { dueMs, run }] of timers) {
      if (dueMs > nowMs) continue
      timers.delete(id)
      run()
    }
    await settled()
  }
  return { queue, pass, nextMs, log: () => logged }
}

async function settled(): Promise<void> {
  await new Promise<void>(resolve => setImmediate(resolve))
}

describe('createWorkQueue()', () => {
  it('counts a key as failing from its failure until it is looked at without one, however seldom it is tried', async () => {
    let fails = true
    const { queue, pass, nextMs } = queueOf(async () => {
      if (fails) throw new Error('no')
      return await Promise.resolve({})
    })
    queue.add('a')
    queue.start()
    await settled()
    expect(queue.failing).to.equal(1)
    for (let tries = 0; tries < 20; tries++) await pass(nextMs() ?? 0)
    expect(queue.failing).to.equal(1)
    fails = false
    await pass((nextMs() ?? 0) - 1)
    expect(queue.failing).to.equal(1)
    await pass(1)
    expect(queue.failing).to.equal(0)
  })

  it('keeps nothing of waits that were taken back', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const ROUNDS = 30_000
    let waits = 0
    let looked = Promise.withResolvers<void>()
    // Node's own timers, each of another length, as a jittered wait of ten hours is.
    const reconcile = async (): Promise<{ readonly againMs: number }> => {
      looked.resolve()
      return { againMs: 36_000_000 + waits++ }
    }
    const queue = createWorkQueue({ name: 'test', reconcile, clock: { now: () => 0, monotonic: () => 0 }, log: createLog({ level: 'info', write: () => {}, now: () => 0 }), random: () => 1 })
    queue.start()
    const round = async (): Promise<void> => {
      looked = Promise.withResolvers()
      queue.add('a')
      await looked.promise
    }
    await round()
    collect()
    const before = process.memoryUsage().heapUsed
    while (waits < ROUNDS) await round()
    collect()
    const grownBytes = process.memoryUsage().heapUsed - before
    await queue.stop()
    expect(grownBytes / ROUNDS).to.be.below(60)
  })

  it('looks at a key once however often it was added, and once more when it was added meanwhile', async () => {
    const looked: string[] = []
    const gate = Promise.withResolvers<void>()
    const { queue } = queueOf(async key => {
      looked.push(key)
      await gate.promise
      return {}
    })
    queue.add('a')
    queue.add('a')
    queue.start()
    queue.add('a')
    queue.add('a')
    await settled()
    expect(looked).to.deep.equal(['a'])
    gate.resolve()
    await settled()
    expect(looked).to.deep.equal(['a', 'a'])
    await queue.stop()
  })

  it('looks at as many keys at a time as it has workers', async () => {
    let most = 0
    let now = 0
    const { queue } = queueOf(
      async () => {
        most = Math.max(most, ++now)
        await settled()
        now--
        return {}
      },
      { workers: 3 },
    )
    for (let index = 0; index < 20; index++) queue.add(String(index))
    queue.start()
    while (queue.depth > 0) await settled()
    expect(most).to.equal(3)
    await queue.stop()
  })

  it('waits longer after each failure of a key, and forgets them on success', async () => {
    let fails = true
    const { queue, pass, nextMs, log } = queueOf(async () => {
      if (fails) throw new Error('no')
      return {}
    })
    queue.start()
    queue.add('a')
    await settled()
    const waits = []
    for (let index = 0; index < 20; index++) {
      waits.push(nextMs() ?? 0)
      await pass(nextMs() ?? 0)
    }
    expect(waits.slice(0, 4)).to.deep.equal([5, 10, 20, 40])
    expect(waits.at(-1)).to.equal(1_000_000)
    expect(log()).to.include('"controller":"test","key":"a"')
    fails = false
    await pass(nextMs() ?? 0)
    expect(nextMs()).to.equal(undefined)
    fails = true
    queue.add('a')
    await settled()
    expect(nextMs()).to.equal(5)
    await queue.stop()
  })

  it('retries at most 10 in a second once 100 have failed', async () => {
    const { queue, nextMs, pass } = queueOf(async () => {
      throw new Error('no')
    })
    queue.start()
    for (let index = 0; index < 150; index++) queue.add(String(index))
    while (queue.depth > 0) await settled()
    // The first hundred wait for their own 5 ms; the next for the bucket, which gives one each 100 ms.
    await pass(5)
    expect(nextMs()).to.be.within(10, 100)
    await queue.stop()
  })

  it('waits as long as the API server asks for', async () => {
    const { queue, nextMs } = queueOf(async () => {
      throw new KubeError(429, 'TooManyRequests', 'later', { retryAfterMs: 7000 })
    })
    queue.start()
    queue.add('a')
    await settled()
    expect(nextMs()).to.equal(7000)
    await queue.stop()
  })

  it('looks again after the time that was asked for, and not twice when told before', async () => {
    const looked: string[] = []
    const { queue, pass, nextMs } = queueOf(async key => {
      looked.push(key)
      return { againMs: 1000 }
    })
    queue.start()
    queue.add('a')
    await settled()
    await pass(600)
    queue.add('a')
    await settled()
    expect(looked).to.have.length(2)
    expect(nextMs()).to.equal(1000)
    await pass(400)
    expect(looked).to.have.length(2)
    await pass(600)
    expect(looked).to.have.length(3)
    await queue.stop()
  })

  it('stop() waits for what is under way, aborts it when that takes too long, and starts nothing more', async () => {
    const looked: string[] = []
    const { queue, pass } = queueOf(async (key, signal) => {
      looked.push(key)
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
      return {}
    }, { workers: 1, drainMs: 30_000 })
    queue.start()
    queue.add('a')
    queue.add('b')
    const stopped = queue.stop()
    await pass(29_999)
    expect(await Promise.race([stopped.then(() => 'stopped'), settled().then(() => 'waits')])).to.equal('waits')
    await pass(1)
    await stopped
    queue.add('c')
    await settled()
    expect(looked).to.deep.equal(['a'])
  })
})
