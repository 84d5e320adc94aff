// porcupine judges files of calls as `checker calls judge` does, with Porcupine: for each file it
// prints the verdict and the nanoseconds of judging it, reading left out. The format is that of
// checker/src/search/file.rs; the models are those of Porcupine's own tests.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type call struct {
	Process  int             `json:"process"`
	Invoked  int64           `json:"invoked"`
	Returned *int64          `json:"returned"`
	Op       json.RawMessage `json:"op"`
	Ret      json.RawMessage `json:"ret"`
}

// What a model makes of a call; the answer is nil if the outcome is unknown.
type decoder func(op, ret json.RawMessage) (input, output any, err error)

type object struct {
	model  porcupine.Model
	decode decoder
}

var objects = map[string]object{
	"register":     {registerModel, decodeRegister},
	"cas_register": {registerModel, decodeRegister},
	"kv":           {kvModel, decodeKv},
}

func main() {
	timeout := flag.Duration("timeout", 0, "give up after this long; 0 is never")
	flag.Parse()
	for _, path := range flag.Args() {
		model, history, err := read(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
		start := time.Now()
		result := porcupine.CheckOperationsTimeout(model, history, *timeout)
		elapsed := time.Since(start)
		fmt.Println(verdicts[result], elapsed.Nanoseconds())
	}
}

var verdicts = map[porcupine.CheckResult]string{
	porcupine.Ok:      "linearizable",
	porcupine.Illegal: "illegal",
	porcupine.Unknown: "unknown",
}

func read(path string) (porcupine.Model, []porcupine.Operation, error) {
	var none porcupine.Model
	file, err := os.Open(path)
	if err != nil {
		return none, nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<26)
	var header struct{ Model string }
	if !lines.Scan() {
		return none, nil, fmt.Errorf("the file is empty")
	}
	if err := json.Unmarshal(lines.Bytes(), &header); err != nil {
		return none, nil, err
	}
	object, known := objects[header.Model]
	if !known {
		return none, nil, fmt.Errorf("no model %q", header.Model)
	}
	var history []porcupine.Operation
	var unknown []int
	last := int64(0)
	for lines.Scan() {
		var call call
		if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
			return none, nil, err
		}
		if call.Returned == nil || call.Ret == nil {
			call.Returned, call.Ret = nil, nil
		}
		input, output, err := object.decode(call.Op, call.Ret)
		if err != nil {
			return none, nil, err
		}
		operation := porcupine.Operation{
			ClientId: call.Process, Input: input, Call: call.Invoked, Output: output,
		}
		last = max(last, call.Invoked)
		if call.Returned == nil {
			unknown = append(unknown, len(history))
		} else {
			operation.Return = *call.Returned
			last = max(last, *call.Returned)
		}
		history = append(history, operation)
	}
	// What never returned returns at the end, as Porcupine's documentation advises.
	for _, index := range unknown {
		history[index].Return = last + 1
	}
	return object.model, history, lines.Err()
}
