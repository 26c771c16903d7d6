// Schemagen writes the JSON Schema of job files to standard output, or with -docs
// the page that lists their fields. Editors use the schema to complete and check
// files as they are written; what counts is manifest.Decode, which checks more.
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
	page := flag.Bool("docs", false, "write the page docs/jobs.md instead")
	flag.Parse()
	out := bufio.NewWriter(os.Stdout)
	printed := write
	if *page {
		printed = writePage
	}
	err := printed(out, *dir)
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
