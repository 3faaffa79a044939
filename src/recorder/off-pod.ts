/** `durability: OffPod`: what is durable on local disk is released only when the sink has it too. Pure. */

import type { StenoError } from '../errors.ts'
import type { LogPlace } from './shipper/writer-stream.ts'

export interface OffPodGate {
  /** The log is durable up to here. */
  durable(place: LogPlace): void
  /** The sink has all before this place. */
  taken(place: LogPlace): void
  /** Recording has stopped: whoever waits is told, and whoever comes. Until `open`. */
  fail(error: StenoError): void
  open(): void
  /** Calls back when the sink has all that is durable now. */
  wait(done: (error?: StenoError) => void): void
}

export function createOffPodGate(): OffPodGate {
  let durableTo: LogPlace = { file: 0, offset: 0 }
  let takenTo: LogPlace = { file: 0, offset: 0 }
  let failure: StenoError | undefined
  /** In the order of their places. */
  let waiting: { readonly place: LogPlace; readonly done: (error?: StenoError) => void }[] = []

  return {
    durable: place => {
      durableTo = place
    },
    taken: place => {
      // A shipper that was started again tells again.
      if (reaches(takenTo, place)) return
      takenTo = place
      const still = waiting.findIndex(each => !reaches(takenTo, each.place))
      for (const { done } of waiting.splice(0, still < 0 ? waiting.length : still)) done()
    },
    fail: error => {
      failure = error
      const told = waiting
      waiting = []
      for (const { done } of told) done(error)
    },
    open: () => {
      failure = undefined
    },
    wait: done => {
      // The last words lie in the reserve, which the sink gets only once there is room again.
      if (failure !== undefined) done(failure)
      else if (reaches(takenTo, durableTo)) done()
      else waiting.push({ place: durableTo, done })
    },
  }
}

function reaches(to: LogPlace, place: LogPlace): boolean {
  return to.file > place.file || (to.file === place.file && to.offset >= place.offset)
}
