package jobgen

// Recipient is a key to which a secret is sealed, and Sealed what that comes to: the text
// "value" as the secret default/x.
const (
	Recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
	Sealed    = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB6bzRJamcrMHlTc3ViZjNE\nWVNrWTlMSGxLVDdtOHhUaGluQURMa2ZrRTI0CmxUNERNK0YreEZ4MW1aYXBkak5J\nT0ttWkwzMjgyc3FhMjkxdGk5UTBzbkkKLS0tIHRmSXZMUGk5NzdyblVsbG5sSisz\nU2ZQYXBMQUw1cjd0SnpiZFVKZ3VnZmsKUSdqFlRNuK63J8PFhspYKfpxYMlVah8l\nPWyFB9hgG0B0FMImv3vvqlMzbLMennEEibUCPtMGbSxIhSkNlE2CvlM=\n-----END AGE ENCRYPTED FILE-----\n"
)
