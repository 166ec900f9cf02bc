"""Fine-tuning: GPT-1's second step (Radford et al. 2018, section 3.2), one seed after another.

`settings` is what a YAML holds, `task` all that is known before the first update: `examples` reads the user's
files, `transformations` and `targets` make ids and numbers of them, `initial` opens the pretrained model.
`loop` trains one seed from top to bottom, with `batches`, `recipe` and, over several processes, `group`.
`tuned` is the model directory that comes out of it; `scoring` and `export` are what it is for. `predict` and
`metrics` measure, `results` and `page` show. `texts` is the other step that needs no labels: it packs a
folder of texts, on which a run of `pipeline.train` continues the pretraining.

    DIR/seed-0/attempts/       as those of a training run: record, config.yaml, metrics.jsonl, checkpoints ...
    DIR/seed-0/model.safetensors, tokenizer/    the selected model (`tuned.load`)
    DIR/seed-0/predictions-dev.tsv              what it predicts (`predictions`)
    DIR/seed-0/finetune.json                    what it is, and its scores (`record.read`); written last
    DIR/results.json, report.html               over all seeds that are done

So each DIR/seed-N is a run to `pipeline.monitor.run_files`: `joined_metrics(DIR/seed-0)` gives its rows.
Each update leaves a row, and each evaluation of the dev set another; a score is named after its metric:

    {"attempt": 1, "time": ..., "step": 9, "tokens": 5120, "epoch": 0.3, "loss": 0.61, "lm_loss": 4.2,
     "lr": 6e-05, "grad_norm": 1.7, "batch": 32, "tokens_per_s": 5100.0}
    {"attempt": 1, "time": ..., "step": 30, "tokens": 17066, "epoch": 1.0, "val_loss": 0.52,
     "dev/accuracy": 0.78, "dev/f1": 0.77}

loss is that of the task alone, in nats (of a regression: the mean square), lm_loss that of the language model
in nats a token; tokens counts real tokens so far, padding excluded.
"""
