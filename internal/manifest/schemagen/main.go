// Schemagen writes the JSON Schema of job files to standard output. Editors
// use it to complete and check files as they are written; what counts is
// manifest.Decode, which checks more.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	dir := flag.String("job", "job", "`DIR` of package job, whose comments become descriptions")
	flag.Parse()
	out := bufio.NewWriter(os.Stdout)
	err := write(out, *dir)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

// write writes the schema, with descriptions from the package in dir.
func write(w io.Writer, dir string) error {
	comments, err := readComments(dir)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document(comments))
}
