package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sort"

	"github.com/anishathalye/porcupine"
)

type kvOp uint8

const (
	getOp kvOp = iota
	putOp
	appendOp
)

type kvInput struct {
	op   kvOp
	key  string
	text string
}

type kvOutput struct {
	text    string
	unknown bool
}

// One key: the history is cut into keys.
var kvModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, operation := range history {
			key := operation.Input.(kvInput).key
			byKey[key] = append(byKey[key], operation)
		}
		keys := make([]string, 0, len(byKey))
		for key := range byKey {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		parts := make([][]porcupine.Operation, 0, len(keys))
		for _, key := range keys {
			parts = append(parts, byKey[key])
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		text, in, out := state.(string), input.(kvInput), output.(kvOutput)
		switch in.op {
		case getOp:
			return out.unknown || out.text == text, text
		case putOp:
			return true, in.text
		default:
			return true, text + in.text
		}
	},
	Hash: func(state any) uint64 {
		hash := fnv.New64a()
		hash.Write([]byte(state.(string)))
		return hash.Sum64()
	},
}

func decodeKv(op, ret json.RawMessage) (any, any, error) {
	var keyed struct {
		Key string
		Op  json.RawMessage
	}
	if err := json.Unmarshal(op, &keyed); err != nil {
		return nil, nil, err
	}
	input := kvInput{op: getOp, key: keyed.Key}
	if string(keyed.Op) != `"get"` {
		var asked struct{ Put, Append *string }
		if err := json.Unmarshal(keyed.Op, &asked); err != nil {
			return nil, nil, err
		}
		switch {
		case asked.Put != nil:
			input.op, input.text = putOp, *asked.Put
		case asked.Append != nil:
			input.op, input.text = appendOp, *asked.Append
		default:
			return nil, nil, fmt.Errorf("no operation: %s", op)
		}
	}
	switch string(ret) {
	case "":
		return input, kvOutput{unknown: true}, nil
	case `"done"`:
		return input, kvOutput{}, nil
	}
	var told struct{ Text string }
	if err := json.Unmarshal(ret, &told); err != nil {
		return nil, nil, err
	}
	return input, kvOutput{text: told.Text}, nil
}
