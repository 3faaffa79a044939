/** Text of an element of an answer of STS, or of an error of S3. Their values are keys, codes, base64 and times: nothing in them is escaped but `&`. */
export function xmlElement(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]?.replaceAll('&amp;', '&')
}
