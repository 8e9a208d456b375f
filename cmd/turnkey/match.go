package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"turnkey/nattest"
	"turnkey/nattest/match"
)

const matchHelp = `turnkey nattest match [-json] A.json B.json
say whether two peers reach each other directly, from what
` + "`turnkey nattest -json`" + ` wrote at each of them. Nothing is sent.

Exit code: 0 direct, or likely so; 1 a relay is needed, or likely so; 4 nobody
can tell; 2 usage, or a file that is no report.
`

// natMatch predicts from two reports of nattest.
func natMatch(c *call) error {
	var asJSON bool
	files, err := c.flags("nattest match", 2, func(f *flag.FlagSet) { jsonFlag(f, &asJSON) })
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(c.stdout, matchHelp)
		return err
	case err != nil:
		return err
	}
	pair, err := matchFiles(files)
	var e *nattest.Error
	switch {
	case errors.As(err, &e) && asJSON:
		err = c.printJSON(map[string]fault{"error": {e.Reason, e.Hint}})
		if err == nil {
			err = exitError(exitUsage)
		}
	case err != nil:
	case asJSON:
		err = c.printJSON(pair)
	default:
		pair.WriteText(c.stdout)
	}
	if err == nil && pair.ExitCode() != exitOK {
		return exitError(pair.ExitCode())
	}
	return err
}

func matchFiles(files []string) (*match.Prediction, error) {
	if len(files) != 2 {
		return nil, &nattest.Error{Usage: true, Reason: "two reports are needed", Hint: "turnkey nattest match A.json B.json"}
	}
	var reports [2]*nattest.Report
	for i, name := range files {
		f, err := os.Open(name)
		if err == nil {
			reports[i], err = match.Read(f)
			_ = f.Close()
		}
		var path *os.PathError
		switch {
		case errors.As(err, &path):
			return nil, &nattest.Error{Usage: true, Reason: fmt.Sprintf("read %s: %v", name, path.Err), Hint: "name a file that exists and may be read"}
		case err != nil:
			return nil, &nattest.Error{Usage: true, Reason: fmt.Sprintf("read %s: %v", name, err), Hint: "write it with `turnkey nattest -json HOST`"}
		}
	}
	return match.Predict(reports[0], reports[1]), nil
}
