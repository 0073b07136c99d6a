process AGGLOMERATE {
    tag "${meta.block}"
    label 'process_single'
    label 'per_block'

    input:
    tuple val(meta), path(overlaps, stageAs: 'overlaps?.npz')
    val flags

    output:
    tuple val(meta), path('components.parquet'), emit: components
    tuple val(meta), path('border.npz'), emit: border
    path 'published/tables/merge_at/*.parquet', emit: merge, optional: true
    path 'forest.npz', emit: forest, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    agglomerate.py ${flags} --overlaps overlaps*.npz --block ${meta.block} --components components.parquet --border border.npz --merge published/tables/merge_at --forest forest.npz
    """

    stub:
    """
    stub.sh components.parquet border.npz forest.npz agglomerate.${meta.block}.provenance.json
    """
}
