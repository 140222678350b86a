"""Training: the official progressive schedule, the losses, one step, the loop, and the files a run leaves behind.

``schedule``    what lod, resolution, batch and learning rate hold after so many images
``losses``      the objectives and the gradient penalties
``precision``   fp32 to fp16, and the scale of fp16's losses
``draws``       every random number, keyed by (seed, rank, step, purpose)
``trainer``     one discriminator step and one generator step; knows nothing of files
``discriminator_terms``  what D minimises in one pass
``loop``        the order of steps, ticks and snapshots; ``position``: where a run stands
``observer``    what may watch a run: augmentation, metrics, ``profile``, reports
``snapshot``    sheets of samples and networks
``checkpoint``  the state that continues to the bit
``run_folder``  the files of one run
``config``      the settings of a run, and which of them a resumed run may change
"""
