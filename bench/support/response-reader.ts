/** Finds the end of HTTP/1.1 answers on a keep-alive connection, and nothing else: the client must not be what is measured. */

const HEAD_END = Buffer.from('\r\n\r\n')
const LF = 10

export interface ResponseReader {
  /** @returns true when the chunk ended an answer. Throws when it is none with status 200. */
  read(chunk: Buffer): boolean
}

export function createResponseReader(): ResponseReader {
  let state: 'head' | 'body' | 'size' | 'data' | 'trailer' = 'head'
  let kept: Buffer = Buffer.alloc(0)
  /** Bytes of the body, or of the chunk with its CRLF, that are still to come. */
  let left = 0

  /** Up to and without the next line end; undefined when it has not come. */
  const line = (chunk: Buffer, at: number): { text: string; next: number } | undefined => {
    const end = chunk.indexOf(LF, at)
    if (end === -1) {
      kept = Buffer.concat([kept, chunk.subarray(at)])
      return undefined
    }
    const text = kept.toString('latin1') + chunk.toString('latin1', at, end)
    kept = Buffer.alloc(0)
    return { text: text.trimEnd(), next: end + 1 }
  }

  const head = (chunk: Buffer): number => {
    const whole = kept.length === 0 ? chunk : Buffer.concat([kept, chunk])
    const end = whole.indexOf(HEAD_END)
    if (end === -1) {
      kept = whole
      return chunk.length
    }
    const before = kept.length
    kept = Buffer.alloc(0)
    const text = whole.toString('latin1', 0, end)
    if (!text.startsWith('HTTP/1.1 200')) throw new Error(`an answer was not 200 but ${text.split('\r\n')[0] ?? ''}`)
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1]
    if (length === undefined) state = 'size'
    else {
      state = 'body'
      left = Number(length)
    }
    return end + HEAD_END.length - before
  }

  return {
    read: chunk => {
      let at = 0
      let ended = false
      while (at < chunk.length || (state === 'body' && left === 0)) {
        if (state === 'head') at += head(chunk.subarray(at))
        else if (state === 'body' || state === 'data') {
          const taken = Math.min(left, chunk.length - at)
          left -= taken
          at += taken
          if (left > 0) break
          if (state === 'data') state = 'size'
          else {
            state = 'head'
            ended = true
          }
        } else {
          const found = line(chunk, at)
          if (found === undefined) break
          at = found.next
          if (state === 'size') {
            const size = Number.parseInt(found.text, 16)
            state = size === 0 ? 'trailer' : 'data'
            left = size + 2
          } else if (found.text === '') {
            state = 'head'
            ended = true
          }
        }
      }
      return ended
    },
  }
}
