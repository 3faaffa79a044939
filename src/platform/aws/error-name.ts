/** Of AWS's JSON protocols: `com.amazonaws.firehose#Name`, `Name:http://…` and `Name` are the same. */
export function awsErrorName(text: string): string {
  return text.replace(/^.*#/, '').replace(/:.*$/, '')
}
