/**
 * `durability: OffPod`: what is durable on local disk is released only when the sink has it too.
 * A sink that is late is waited for once: whoever has waited for the limit is told, and from then on everybody at once, until the sink takes something again.
 */

import { StenoError } from '../errors.ts'
import type { LogPlace } from './shipper/writer-stream.ts'

export interface OffPodGate {
  /** The log is durable up to here. */
  durable(place: LogPlace): void
  /** The sink has all before this place. */
  taken(place: LogPlace): void
  /** Recording has stopped: whoever waits is told, and whoever comes. Until `open`. */
  fail(error: StenoError): void
  open(): void
  /** Calls back when the sink has all that is durable now; with `sink.late` when that takes too long. */
  wait(done: (error?: StenoError) => void): void
}

export interface OffPodGateOptions {
  /** Longest wait for the sink. */
  readonly limitMs: number
  /** Somebody has waited that long, for the first time since the sink took something. */
  readonly onLate: (error: StenoError) => void
  /** ms, monotonic. */
  readonly monotonic: () => number
}

interface Waiting {
  readonly place: LogPlace
  readonly untilMs: number
  readonly done: (error?: StenoError) => void
}

export function createOffPodGate({ limitMs, onLate, monotonic }: OffPodGateOptions): OffPodGate {
  let durableTo: LogPlace = { file: 0, offset: 0 }
  let takenTo: LogPlace = { file: 0, offset: 0 }
  let failure: StenoError | undefined
  let late: StenoError | undefined
  /** In the order of their places, and so of their ends. */
  let waiting: Waiting[] = []
  /** For the first of them, or one that has gone. */
  let timer: NodeJS.Timeout | undefined

  const tell = (error: StenoError): void => {
    const told = waiting
    waiting = []
    for (const { done } of told) done(error)
  }
  const watch = (): void => {
    const [first] = waiting
    if (timer !== undefined || first === undefined) return
    timer = setTimeout(
      () => {
        timer = undefined
        const [oldest] = waiting
        if (oldest === undefined || oldest.untilMs > monotonic()) return watch()
        late = new StenoError('sink.late', `the sink has not accepted what was recorded within ${limitMs / 1000} s`)
        onLate(late)
        tell(late)
      },
      Math.max(1, first.untilMs - monotonic()),
    )
    timer.unref()
  }

  return {
    durable: place => {
      durableTo = place
    },
    taken: place => {
      // A shipper that was started again tells again.
      if (reaches(takenTo, place)) return
      takenTo = place
      late = undefined
      const still = waiting.findIndex(each => !reaches(takenTo, each.place))
      for (const { done } of waiting.splice(0, still < 0 ? waiting.length : still)) done()
    },
    fail: error => {
      failure = error
      tell(error)
    },
    open: () => {
      failure = undefined
    },
    wait: done => {
      // The last words lie in the reserve, which the sink gets only once there is room again.
      if (failure !== undefined) done(failure)
      else if (reaches(takenTo, durableTo)) done()
      else if (late !== undefined) done(late)
      else {
        waiting.push({ place: durableTo, untilMs: monotonic() + limitMs, done })
        watch()
      }
    },
  }
}

function reaches(to: LogPlace, place: LogPlace): boolean {
  return to.file > place.file || (to.file === place.file && to.offset >= place.offset)
}
