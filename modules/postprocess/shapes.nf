process SHAPES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(labels), path(labels_manifest)
    val meta
    val flags

    output:
    tuple val(meta), path('sizes.parquet'), path('fragments.parquet'), path('coarse.parquet'), emit: shapes
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    shapes.py ${flags} --labels ${labels} --block ${meta.block} --sizes sizes.parquet --fragments fragments.parquet --coarse coarse.parquet
    """

    stub:
    """
    stub.sh sizes.parquet fragments.parquet coarse.parquet shapes.provenance.json
    """
}
