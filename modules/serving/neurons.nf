process NEURONS {
    label 'process_single'

    input:
    tuple path(rows, stageAs: 'rows?.parquet'), path(largest, stageAs: 'largest?.parquet')
    path(tables, stageAs: 'tables/*')
    val flags

    output:
    path 'published/tables/*', emit: tables
    path 'published/{meshes,skeletons}/**', emit: info, optional: true
    path 'published/figures/neurites_3d.png', emit: figure, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    neurons.py ${flags} --rows rows*.parquet --largest largest*.parquet --tables tables --neurons published/tables --mesh_files published/meshes --skeleton_files published/skeletons --picture published/figures/neurites_3d.png
    """

    stub:
    """
    stub.sh published/tables/neurons.parquet published/tables/neurons.csv published/figures/neurites_3d.png neurons.provenance.json
    """
}
