process NEURITES {
    tag "${meta.batch}"
    label 'process_medium'

    input:
    tuple path(labels), path(labels_manifest)
    tuple path(sizes, stageAs: 'sizes?.parquet'), path(fragments, stageAs: 'fragments?.parquet'), path(coarse, stageAs: 'coarse?.parquet')
    val meta
    val flags

    output:
    tuple val(meta), path('rows.parquet'), path('largest.parquet'), emit: neurites
    path 'published/meshes/*', emit: meshes, optional: true
    path 'published/skeletons/**', emit: skeletons, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    neurites.py ${flags} --labels ${labels} --sizes sizes*.parquet --fragments fragments*.parquet --coarse coarse*.parquet --batch ${meta.batch} --mesh_files published/meshes --skeleton_files published/skeletons --rows rows.parquet --largest largest.parquet
    """

    stub:
    """
    stub.sh rows.parquet largest.parquet published/meshes/1.index published/skeletons/1.swc neurites.provenance.json
    """
}
