/** Lines of a stream of bytes. */

/** @param maxBytes of a line. Throws when one is longer; an unfinished last line is left out */
export async function* lines(stream: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let pieces: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream) {
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      pieces.push(chunk.subarray(start, end))
      const line = decoder.decode(Buffer.concat(pieces))
      pieces = []
      bytes = 0
      start = end + 1
      if (line !== '') yield line
    }
    if (start === chunk.length) continue
    pieces.push(chunk.subarray(start))
    bytes += chunk.length - start
    if (bytes > maxBytes) throw new Error(`a line is longer than ${maxBytes} bytes`)
  }
}
